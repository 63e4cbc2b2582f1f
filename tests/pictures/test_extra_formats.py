"""HEIC and JPEG XL: pixels, depth, orientation, profile and EXIF; and the extra to install where one is missing."""

from __future__ import annotations

import base64
import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from support import texture

from bgai.errors import ImageError, MissingExtraError
from bgai.pictures.extra_formats import jxl_size
from bgai.pictures.reading import read_picture, read_size
from bgai.types import Pixels

# 32 x 24 pixels of ramps with a red square at the top left, to be turned by a quarter to the right.
TURNED_HEIC = (
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAcltZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
    "ADRpbG9jAAAAAERAAAIAAQAAAAAB7QABAAAAAAAAAQIAAgAAAAAC7wABAAAAAAAAADYAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAA"
    "AAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABCGlwcnAAAADnaXBjbwAAAHdodmNDAQQIAAAA"
    "njgAAAAAHvAA/P/4+AAADwNgAAEAF0ABDAH//wQIAAADAJ44AAADAAAeugJAYQABACpCAQEECAAAAwCeOAAAAwAAHpAEECCy3VXT"
    "XNwENBgQAAADAZAAAAMAEIBiAAEACEQBwXMYMBiQAAAAE2NvbHJuY2x4AAEADQAGgAAAABRpc3BlAAAAAAAAAEAAAABAAAAAKGNs"
    "YXAAAAAgAAAAAQAAABgAAAAB////4AAAAAL////YAAAAAgAAABBwaXhpAAAAAAMICAgAAAAJaXJvdAMAAAAZaXBtYQAAAAAAAAAB"
    "AAEGgQIDBYSGAAAAGmlyZWYAAAAAAAAADmNkc2MAAgABAAEAAAFAbWRhdAAAAP4oAa8E8h+k89B1zxet+hCf/lH7/yaZn25mob+8"
    "brKKxxg00WsuXIGdNThHtgmAsWxoMB5AH4q2j0Jj0XDO/DaoFO230qJVURjS9yEbTE1rw+eYp6Ajxbh9QHhkfRhjyxgse0nhuKA7"
    "yLlgRbCsSUD2HdCZwRfj6+QdhTFrKkhQ/YT2eNpf5R7LD0bgba8RZ2O2clBCn79vsRZabmUU/onmCeC32ii6k+tGdEAMMMXQumZf"
    "r8a//8f8ZjKan/AIcKSkBwfwmAi/ye+XUMw/oHq0jCD4MvH1ZGQIFba+tWRROj/oAHMEqUz47mEKdvo64cM10s/i///Y/W5giuwl"
    "gAAAAAZFeGlmAABNTQAqAAAACAACAQ8AAgAAAAYAAAAmARIAAwAAAAEABgAAAAAAAE1ha2VyAA=="
)
# 32 x 24 white pixels of 10 bits.
WHITE_HEIC = (
    "AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAX5tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
    "ACJpbG9jAAAAAERAAAEAAQAAAAABogABAAAAAAAAAFUAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRt"
    "AAAAAAABAAAA/mlwcnAAAADeaXBjbwAAAHdodmNDAQQIAAAAnDgAAAAA//AA/P/6+gAADwNgAAEAF0ABDAH//wQIAAADAJw4AAAD"
    "AAD/ugJAYQABACpCAQEECAAAAwCcOAAAAwAA/5AEECCbLdVdNc3AQ0GBAAADABkAAAMAAQhiAAEACEQBwXAwYLEgAAAAE2NvbHJu"
    "Y2x4AAEADQAGgAAAABRpc3BlAAAAAAAAAEAAAABAAAAAKGNsYXAAAAAgAAAAAQAAABgAAAAB////4AAAAAL////YAAAAAgAAABBw"
    "aXhpAAAAAAMKCgoAAAAYaXBtYQAAAAAAAAABAAEFgQIDBYQAAABdbWRhdAAAAFEoAa8FshshxoAvFlRGgD/76/98/96/7t/t3+3f"
    "7d/t3+3v7e/t7+3v7e/t7+3v7e/8KCJmEsjWXLo636pf30HNvkSsgGLBhsdfC0BP7v7y52w="
)


def turned_heic(path: Path) -> None:
    path.write_bytes(base64.b64decode(TURNED_HEIC))


def test_heic_is_upright(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    turned_heic(tmp_path / "a.heic")
    picture = read_picture(tmp_path / "a.heic")
    assert picture.pixels.shape == (32, 24, 3)
    assert read_size(tmp_path / "a.heic") == (32, 24, 3)
    np.testing.assert_allclose(picture.pixels[2:6, 18:22].mean((0, 1)), (250, 10, 10), atol=12)
    y, x = np.mgrid[0:24, 0:32]
    ramp = np.rot90(np.stack([x * 8, y * 10, 0 * x + 60], axis=-1), -1)
    assert np.abs(picture.pixels[10:].astype(int) - ramp[10:]).mean() < 4
    exif = Image.Exif()
    exif.load(picture.metadata["exif-data"][1])
    assert exif[271] == "Maker"
    assert picture.metadata["orientation"][1] == 1
    assert picture.chunks == ((b"cICP", bytes((1, 13, 0, 1))),)


def test_heic_of_10_bits_is_white_at_white(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    (tmp_path / "a.heic").write_bytes(base64.b64decode(WHITE_HEIC))
    picture = read_picture(tmp_path / "a.heic")
    assert picture.pixels.dtype == np.uint16
    assert picture.pixels.min() == 65535


def test_heic_that_is_cut_short(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    (tmp_path / "a.heic").write_bytes(base64.b64decode(TURNED_HEIC)[:600])
    with pytest.raises(ImageError, match="damaged or cut short"):
        read_picture(tmp_path / "a.heic")


def test_the_limit_of_heic_comes_before_its_pixels(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    turned_heic(tmp_path / "a.heic")
    with pytest.raises(ImageError, match="limit"):
        read_picture(tmp_path / "a.heic", max_pixels=700)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "I;16"])
@pytest.mark.parametrize("container", [False, True])
def test_jxl(mode: str, container: bool, tmp_path: Path) -> None:
    pytest.importorskip("pillow_jxl")
    channels = {"RGB": 3, "RGBA": 4}.get(mode, 1)
    pixels: Pixels = texture(20, 33, channels)[..., slice(None) if channels > 1 else 0]
    if mode == "I;16":
        pixels = pixels.astype(np.uint16) * 257
    exif = Image.Exif()
    exif[271] = "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels).save(
        tmp_path / "a.jxl", lossless=True, use_container=container, exif=exif.tobytes(), icc_profile=profile
    )
    picture = read_picture(tmp_path / "a.jxl")
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.pixels.dtype == pixels.dtype
    assert read_size(tmp_path / "a.jxl")[:2] == (20, 33)
    exif.load(picture.metadata["exif-data"][1])
    assert exif[271] == "Maker"
    assert len(picture.metadata["icc-profile-data"][1]) > 100


def test_jxl_that_was_a_jpeg(tmp_path: Path) -> None:
    pytest.importorskip("pillow_jxl")
    Image.fromarray(texture(20, 33)).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        image.save(tmp_path / "a.jxl", lossless_jpeg=True)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jxl").pixels, read_picture(tmp_path / "a.jpg").pixels)


def test_jxl_that_is_damaged(tmp_path: Path) -> None:
    pytest.importorskip("pillow_jxl")
    image = io.BytesIO()
    Image.fromarray(texture(20, 33)).save(image, "jxl")
    for length in (20, 200, len(image.getvalue()) - 50):
        (tmp_path / "a.jxl").write_bytes(image.getvalue()[:length])
        with pytest.raises(ImageError, match="damaged or cut short"):
            read_picture(tmp_path / "a.jxl")


def bits(*fields: tuple[int, int]) -> bytes:
    """Numbers of so many bits each, from the lowest bit of the first byte."""
    value = at = 0
    for number, count in fields:
        value, at = value | number << at, at + count
    return b"\xff\n" + value.to_bytes(40, "little")


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (bits((1, 1), (3, 5), (1, 3)), (32, 32)),
        (bits((1, 1), (3, 5), (5, 3)), (56, 32)),
        (bits((1, 1), (3, 5), (0, 3), (7, 5)), (64, 32)),
        (bits((0, 1), (1, 2), (999, 13), (0, 3), (2, 2), (99_999, 18)), (100_000, 1000)),
        (bits((1, 1), (3, 5), (0, 3), (7, 5), (0, 1), (1, 1), (5, 3)), (32, 64)),
        (bits((1, 1), (3, 5), (0, 3), (7, 5), (0, 1), (1, 1), (2, 3)), (64, 32)),
    ],
)
def test_sizes_of_jxl(head: bytes, size: tuple[int, int]) -> None:
    """Width and height, by the tables of ISO/IEC 18181-1."""
    assert jxl_size(head) == size
    boxes = b"\0\0\0\x0cJXL \r\n\x87\n" + struct.pack(">I4s4s", 12, b"ftyp", b"jxl ")
    boxes += struct.pack(">I4sI3s", 15, b"jxlp", 0, head[:3]) + struct.pack(">I4sI", 0, b"jxlp", 1) + head[3:]
    assert jxl_size(boxes) == size


@pytest.mark.parametrize(("name", "module", "extra"), [("a.heic", "pi_heif", "heic"), ("a.jxl", "pillow_jxl", "jxl")])
def test_without_the_extra_one_line_says_which(
    name: str, module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    if extra == "heic":
        turned_heic(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(bits((1, 1), (3, 5), (1, 3)))
    for read in (read_size, read_picture):
        with pytest.raises(MissingExtraError, match=rf"{name}: .* needs the extra '{extra}'.*pip install") as error:
            read(tmp_path / name)
        assert "\n" not in str(error.value)
