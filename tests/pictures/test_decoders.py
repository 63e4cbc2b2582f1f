"""Decoders: the kinds of files that are read, each with the right pixels, and the true reason where one is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvips
from picture_support import rewrite, save_by_vips, write_tiff
from PIL import Image
from support import texture

from bgai.errors import ImageError, OutputError
from bgai.pictures.decoders import open_image
from bgai.pictures.reading import read_picture, read_rgb8, read_size
from bgai.pictures.writing import write_picture


@pytest.mark.parametrize("transparent", [False, True])
def test_gif(transparent: bool, tmp_path: Path) -> None:
    image = Image.fromarray(texture(20, 30)).quantize(7)
    if transparent:
        image.save(tmp_path / "a.gif", transparency=0)
    else:
        image.save(tmp_path / "a.gif")
    expected = np.array(Image.open(tmp_path / "a.gif").convert("RGBA" if transparent else "RGB"))
    picture = read_picture(tmp_path / "a.gif")
    visible = expected[..., -1] > 0 if transparent else slice(None)
    np.testing.assert_array_equal(picture.pixels[visible], expected[visible])
    assert picture.pixels.shape == expected.shape
    assert read_size(tmp_path / "a.gif") == (20, 30, 3 + transparent)
    assert picture.notes == ()
    assert picture.resolution is None


@pytest.mark.parametrize("tag", [(254, 1), (254, 4), (255, 2)])
def test_a_reduced_copy_or_mask_is_no_second_page(tag: tuple[int, int], tmp_path: Path) -> None:
    """A reduced copy in front, as raw converters write it, is passed over too."""
    small, large = Image.fromarray(texture(5, 6)), Image.fromarray(texture(10, 12))
    for first, second, tags in ((large, small, ({}, dict([tag]))), (small, large, (dict([tag]), {}))):
        second.encoderinfo = {"tiffinfo": tags[1]}
        first.save(tmp_path / "a.tif", save_all=True, append_images=[second], tiffinfo=tags[0])
        assert read_size(tmp_path / "a.tif") == (10, 12, 3)
        np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels, texture(10, 12))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("top", [1.0, 50.0])
def test_floating_point_stays_floating_point(channels: int, top: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.random((12, 16, channels), np.float32)
    values[..., :3] *= top
    values[0, 0, 0] = -0.25 if top > 1 else 0
    image = pyvips.Image.new_from_array(values)
    image.copy(interpretation="b-w" if channels == 1 else "scrgb").tiffsave(str(tmp_path / "a.tif"))
    picture = read_picture(tmp_path / "a.tif")
    assert picture.pixels.dtype == np.float32
    assert picture.pixels.min() >= 0
    assert picture.pixels.max() <= 1
    rewrite(tmp_path / "a.tif", tmp_path / "b.tif")
    again = pyvips.Image.tiffload(str(tmp_path / "b.tif"))
    assert again.format == "float"
    np.testing.assert_allclose(again.numpy().reshape(values.shape), values, rtol=1e-5, atol=1e-5 * top)
    with (
        pytest.raises(OutputError, match="floating point; choose tiff"),
        write_picture(tmp_path / "b.png", picture, 16),
    ):
        pass
    assert not (tmp_path / "b.png").exists()


def test_half_floats_are_read(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 48, dtype=np.float16).reshape(6, 8)
    write_tiff(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels, values.astype(np.float32))


def test_numbers_that_are_none(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", np.array([[0, np.nan], [np.inf, 1]], np.float32))
    with pytest.raises(ImageError, match="infinite or no numbers"):
        read_picture(tmp_path / "a.tif")


def test_lab_is_converted_with_a_note(tmp_path: Path) -> None:
    lab = np.tile(np.array([32767, 60 * 256, -50 * 256]).astype(np.int16), (6, 8, 1))
    write_tiff(tmp_path / "a.tif", lab.view(np.uint16), photometric=8)
    picture = read_picture(tmp_path / "a.tif")
    assert picture.pixels.dtype == np.uint16
    assert picture.notes == ("CIE L*a*b* was converted to sRGB",)
    # L* 50, a* 60, b* -50 by CIE 15 and IEC 61966-2-1, for the white D65.
    np.testing.assert_allclose(picture.pixels[3, 3] / 257, (175, 74, 205), atol=2)


@pytest.mark.parametrize(
    ("pixels", "options", "words"),
    [
        (np.zeros((8, 12), np.uint8), {"bits": 12}, "a TIFF of 12 bits a sample"),
        (np.zeros((8, 10), np.uint8), {"bits": 10}, "a TIFF of 10 bits a sample"),
        (np.zeros((8, 12, 3)), {}, r"a TIFF of 64 bits a sample \(floating-point\)"),
        (np.zeros((8, 12), np.uint32), {}, "samples of 32 bits, unsigned"),
        (np.zeros((8, 12, 3), np.uint8), {"photometric": 8}, r"CIE L\*a\*b\* of 8 bits"),
        (np.zeros((8, 12), np.uint16), {"photometric": 32803}, "1 bands of multiband"),
    ],
)
def test_a_sound_tiff_of_another_kind_is_not_called_damaged(
    pixels: np.ndarray, options: dict[str, int], words: str, tmp_path: Path
) -> None:
    write_tiff(tmp_path / "a.tif", pixels, **options)
    with pytest.raises(ImageError, match=words) as error:
        read_picture(tmp_path / "a.tif")
    assert "damaged" not in str(error.value)


def test_a_film_is_no_picture(tmp_path: Path) -> None:
    """Though it begins as HEIC does."""
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(99))
    with pytest.raises(ImageError, match="not a picture of a kind that is read"):
        read_picture(tmp_path / "a.heic")


def test_the_loader_of_libvips_is_named(tmp_path: Path) -> None:
    """Nothing else of libvips sees a file."""
    for suffix, loader in ((".png", "pngload"), (".jpg", "jpegload"), (".webp", "webpload"), (".gif", "gifload")):
        Image.fromarray(texture(9, 9)).save(tmp_path / f"a{suffix}")
        opened = open_image(tmp_path / f"a{suffix}", 100)
        assert opened.image.get("vips-loader").startswith(loader)


def test_grey_stored_as_colour_comes_out_grey(tmp_path: Path) -> None:
    grey = texture(12, 16, 1)
    save_by_vips(np.repeat(grey, 3, axis=2), tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb8(tmp_path / "a.png"), np.repeat(grey, 3, axis=2))
