"""Gain maps of Ultra HDR photographs: input and output show the same in HDR."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from picture_support import rewrite
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from support import texture

from bgai.pictures.reading import read_picture, read_xmp
from bgai.pictures.writing import write_picture


def ultra_hdr(path: Path, orientation: int = 1) -> None:
    """A ramp of colours with a light of four times white, 120 x 80 pixels."""
    y, x = np.mgrid[0:80, 0:120].astype(np.float32)
    colours = np.stack([x / 120, y / 80, 0 * x + 0.5], axis=-1)
    light = 1 + 3 * np.exp(-((x - 80) ** 2 + (y - 30) ** 2) / 300)
    image = pyvips.Image.new_from_array((colours * light[..., None]).astype(np.float32)).copy(interpretation="scrgb")
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    image.uhdrsave(str(path), Q=95)


def hdr(path: Path) -> NDArray[Any]:
    """What a decoder shows, upright: linear, 1 is white."""
    image: NDArray[Any] = pyvips.Image.uhdrload(str(path)).uhdr2scRGB().autorot().numpy()
    return image


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_output_shows_the_same_in_hdr(orientation: int, tmp_path: Path) -> None:
    ultra_hdr(tmp_path / "a.jpg", orientation)
    picture = read_picture(tmp_path / "a.jpg")
    width = picture.pixels.shape[1]
    with write_picture(tmp_path / "b.jpg", picture, 2 * width, fields={"scale": "2"}) as writer:
        writer.write(picture.pixels.repeat(2, axis=0).repeat(2, axis=1))
    assert (picture.notes, writer.notes) == ((), ())
    before, after = hdr(tmp_path / "a.jpg"), hdr(tmp_path / "b.jpg")
    assert before.max() > 2
    assert after.shape == (2 * before.shape[0], 2 * before.shape[1], 3)
    reduced = after.reshape(before.shape[0], 2, before.shape[1], 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(reduced, before, atol=0.05, rtol=0.05)
    assert b'bgai:scale="2"' in (read_xmp(tmp_path / "b.jpg") or b"")


def test_an_output_is_enlarged_again_with_its_gain_map(tmp_path: Path) -> None:
    ultra_hdr(tmp_path / "a.jpg")
    rewrite(tmp_path / "a.jpg", tmp_path / "b.jpg")
    rewrite(tmp_path / "b.jpg", tmp_path / "c.jpg")
    np.testing.assert_allclose(hdr(tmp_path / "c.jpg"), hdr(tmp_path / "a.jpg"), atol=0.1, rtol=0.1)
    assert (read_xmp(tmp_path / "c.jpg") or b"").count(b'Item:Semantic="GainMap"') == 1


def test_the_index_of_pictures_leads_to_the_map(tmp_path: Path) -> None:
    ultra_hdr(tmp_path / "a.jpg")
    rewrite(tmp_path / "a.jpg", tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert isinstance(image, JpegImageFile)
        first, second = (image._getmp() or {})[0xB002]
        start = second["DataOffset"] + image.info["mpoffset"]
    data = (tmp_path / "b.jpg").read_bytes()
    assert (first["Size"], start + second["Size"]) == (start, len(data))
    with Image.open(io.BytesIO(data[start:])) as gain_map:
        assert gain_map.size == (60, 40)
        gain_map.load()


def test_other_formats_have_no_place_for_it(tmp_path: Path) -> None:
    ultra_hdr(tmp_path / "a.jpg")
    picture = read_picture(tmp_path / "a.jpg")
    with write_picture(tmp_path / "b.png", picture, 120) as writer:
        writer.write(picture.pixels)
    assert "the gain map was left out" in writer.notes[0]
    assert b"GainMap" not in (read_xmp(tmp_path / "b.png") or b"")


def test_a_map_that_is_announced_but_cannot_be_read(tmp_path: Path) -> None:
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b"<rdf:Description"
        b' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/></rdf:RDF></x:xmpmeta>'
    )
    Image.fromarray(texture(10, 10)).save(tmp_path / "a.jpg", xmp=xmp)
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.gain_map is None
    assert "the gain map cannot be read" in picture.notes[0]


def test_a_damaged_map_is_left_out_with_a_note(tmp_path: Path) -> None:
    ultra_hdr(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[:-300] + b"\xff\xd9" * 150)
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.gain_map is None
    assert "the gain map cannot be read" in picture.notes[0]
