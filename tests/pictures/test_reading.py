"""Picture files to arrays: every kind that is read, and what is refused."""

from __future__ import annotations

import gc
import os
import stat
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from picture_support import KINDS_OF_PIXELS, peak_growth, png_with, save_by_vips, write_tiff
from PIL import Image
from support import texture

from bgai.errors import ImageError, OutputError
from bgai.mapped import mapped_file
from bgai.pictures import decoders, reading
from bgai.pictures.decoders import open_image
from bgai.pictures.reading import decode_rgb8, read_picture, read_rgb8, read_size
from bgai.types import Pixels


@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_become_colours(transparent: bool, tmp_path: Path) -> None:
    image = Image.fromarray(texture(20, 20)).quantize(7)
    options: dict[str, Any] = {"transparency": 0} if transparent else {}
    image.save(tmp_path / "p.png", **options)
    expected = np.array(Image.open(tmp_path / "p.png").convert("RGBA" if transparent else "RGB"))
    np.testing.assert_array_equal(read_picture(tmp_path / "p.png").pixels, expected)


def test_one_bit_becomes_grey(tmp_path: Path) -> None:
    bits = texture(16, 21, 1)[..., 0] > 128
    Image.fromarray(bits).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "b.png").pixels, bits * np.uint8(255))


def test_cmyk_is_converted_with_a_note(tmp_path: Path) -> None:
    Image.new("CMYK", (12, 10), (0, 255, 255, 0)).save(tmp_path / "c.jpg")
    picture = read_picture(tmp_path / "c.jpg")
    assert picture.pixels.shape == (10, 12, 3)
    assert picture.pixels[5, 5, 0] > 150 > picture.pixels[5, 5, 2]
    assert "CMYK" in picture.notes[0]
    assert read_size(tmp_path / "c.jpg") == (10, 12, 3)


@pytest.mark.parametrize("kind", KINDS_OF_PIXELS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_kind_as_rgb8(kind: str, dtype: type, tmp_path: Path) -> None:
    pixels: Pixels = np.full((6, 5, KINDS_OF_PIXELS[kind]), 77 if dtype == np.uint8 else 77 * 257, dtype)
    save_by_vips(pixels[..., 0] if kind == "grey" else pixels, tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb8(tmp_path / "a.png"), np.full((6, 5, 3), 77))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_rgb8_is_the_same_by_name_and_from_bytes(orientation: int, suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(texture(300, 200)).save(path, exif=exif)
    pixels = read_picture(path).pixels
    assert pixels.shape == ((200, 300, 3) if orientation == 6 else (300, 200, 3))
    np.testing.assert_array_equal(read_rgb8(path), pixels)
    np.testing.assert_array_equal(decode_rgb8(path.read_bytes(), "a"), pixels)


def bomb(path: Path) -> None:
    """A PNG of 40,000 x 40,000 pixels in a few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def double(path: Path) -> None:
    write_tiff(path, np.zeros((8, 8, 3)))


def truncated(path: Path) -> None:
    Image.fromarray(texture(200, 200)).save(path)
    path.write_bytes(path.read_bytes()[:-3000])


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing.png": (lambda path: None, "No such file"),
    "empty.png": (lambda path: path.touch(), "is empty"),
    "folder.png": (lambda path: path.mkdir(), "cannot be read"),
    "text.png": (lambda path: path.write_text("hello"), "not a picture"),
    "header.jpg": (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0"), "damaged: no whole header of JPEG"),
    "truncated.png": (truncated, "damaged or cut short"),
    "truncated.jpg": (truncated, "damaged or cut short"),
    "truncated.webp": (truncated, "damaged"),
    "truncated.tif": (truncated, "damaged"),
    "bomb.png": (bomb, "limit of 200 megapixels"),
    "double.tif": (double, "64 bits a sample (floating-point)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_enlarged_is_named_in_one_line(name: str, tmp_path: Path) -> None:
    make, message = BROKEN[name]
    make(tmp_path / name)
    with pytest.raises(ImageError) as error:
        read_picture(tmp_path / name)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name in BROKEN if name not in ("missing.png", "folder.png", "bomb.png")])
def test_broken_bytes_are_named_in_one_line(name: str, tmp_path: Path) -> None:
    make, message = BROKEN[name]
    make(tmp_path / name)
    with pytest.raises(ImageError) as error:
        decode_rgb8((tmp_path / name).read_bytes(), "the name")
    assert message in str(error.value)
    assert str(error.value).startswith("the name: ")
    assert "\n" not in str(error.value)


def test_the_limit_can_be_raised(tmp_path: Path) -> None:
    save_by_vips(texture(30, 30), tmp_path / "a.png")
    with pytest.raises(ImageError, match="limit"):
        read_picture(tmp_path / "a.png", max_pixels=899)
    assert read_picture(tmp_path / "a.png", max_pixels=900).pixels.shape == (30, 30, 3)


def test_another_kind_of_file_under_a_known_name(tmp_path: Path) -> None:
    Image.fromarray(texture(8, 8)).save(tmp_path / "a.ppm")
    (tmp_path / "a.ppm").rename(tmp_path / "a.png")
    with pytest.raises(ImageError, match="not a picture of a kind that is read"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("depth", [8, 10, 12])
def test_avif_of_any_depth_is_white_at_white(depth: int, tmp_path: Path) -> None:
    top = 255 if depth == 8 else 65535
    white = pyvips.Image.new_from_array(np.full((16, 16, 3), top, np.uint8 if depth == 8 else np.uint16))
    kind = "srgb" if depth == 8 else "rgb16"
    white.copy(interpretation=kind).heifsave(str(tmp_path / "a.avif"), compression="av1", bitdepth=depth, lossless=True)
    assert read_picture(tmp_path / "a.avif").pixels.min() >= top * 0.999


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="counts memory as Linux does")
@pytest.mark.parametrize("orientation", [1, 6])
def test_what_is_decoded_is_in_memory_once(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (6000, 4000), (9, 99, 200)).save(tmp_path / "large.jpg", exif=exif)
    code = """
before = peak()
assert read_picture(Path("large.jpg")).pixels.shape[2] == 3
print(peak() - before)
"""
    assert 70_000 < peak_growth(code, tmp_path) < 90_000  # of pixels of 72 MB


@pytest.mark.parametrize("orientation", [1, 8])
def test_large_pixels_lie_in_a_file_without_a_name(
    orientation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(texture(120, 170)).save(tmp_path / "a.png", exif=exif)
    expected = read_picture(tmp_path / "a.png", scratch=tmp_path / "new").pixels
    assert mapped_file(expected) is None
    monkeypatch.setattr(reading, "_MOST_IN_MEMORY", 100)
    picture = read_picture(tmp_path / "a.png", scratch=tmp_path / "new")
    assert mapped_file(picture.pixels) is not None
    np.testing.assert_array_equal(picture.pixels, expected)
    picture.forget()
    np.testing.assert_array_equal(picture.pixels, expected)
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(OutputError, match=r"a\.png: no place for the pixels of a large picture"):
        read_picture(tmp_path / "a.png", scratch=tmp_path / "a.png")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="counts memory as Linux does")
def test_large_pixels_do_not_count_as_memory(tmp_path: Path) -> None:
    Image.new("RGB", (6000, 4000), (9, 99, 200)).save(tmp_path / "large.jpg")
    code = """
before = peak()
picture = read_picture(Path("large.jpg"), scratch=Path())
for top in range(0, 4000, 500):
    assert picture.pixels[top : top + 500].min() > 0
    picture.forget()
print(peak() - before)
"""
    assert peak_growth(code, tmp_path) < 30_000  # of pixels of 72 MB


AWKWARD_NAMES = [
    "a.png[shrink=2].png",
    "x.jpg[shrink=2]",
    "b[page=1]",
    "-o",
    "a\nb.png",
    "🐈.png",
    "caf\udce9.png",
    "%d.png",
]


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse some of these names")
@pytest.mark.parametrize("name", AWKWARD_NAMES)
@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "tiff"])
def test_a_name_is_only_a_name(name: str, format: str, tmp_path: Path) -> None:
    for other in ("a.png", "x.jpg", "b"):
        Image.fromarray(texture(40, 30)).save(tmp_path / other, "png")
    pixels = np.full((12, 16, 3), (200, 40, 60), np.uint8)
    with (tmp_path / name).open("wb") as file:
        Image.fromarray(pixels).save(file, format)
    assert read_size(tmp_path / name) == (12, 16, 3)
    assert np.abs(read_rgb8(tmp_path / name).astype(int) - pixels).max() <= 9
    assert np.abs(read_picture(tmp_path / name).pixels.astype(int) - pixels).max() <= 9


def test_a_keyword_of_png_is_latin_1(tmp_path: Path) -> None:
    png_with(tmp_path / "a.png", (b"tEXt", "Überschrift\0Straße".encode("latin-1")))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels, texture(10, 10))


def test_other_decoders_never_see_a_file(tmp_path: Path) -> None:
    """An SVG of megabytes would be parsed for seconds; libvips' own format crashed."""
    pyvips.Image.new_from_array(texture(8, 8)).write_to_file(str(tmp_path / "a.v"))
    (tmp_path / "a.v").rename(tmp_path / "vips.png")
    with (tmp_path / "svg.png").open("w") as file:
        file.write('<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99">')
        file.write('<rect width="3" height="3"/>' * 200_000)
        file.write("</svg>")
    start = time.process_time()
    for name in ("vips.png", "svg.png"):
        with pytest.raises(ImageError, match="not a picture of a kind that is read"):
            read_picture(tmp_path / name)
        with pytest.raises(ImageError, match="not a picture of a kind that is read"):
            decode_rgb8((tmp_path / name).read_bytes(), name)
    assert time.process_time() - start < 0.5


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o600)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems make such files in other ways")
@pytest.mark.parametrize("make", [a_pipe, a_socket, a_device])
def test_what_is_no_file_is_not_waited_for(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "a.png")
    for read in (read_size, read_picture, read_rgb8):
        with pytest.raises(ImageError, match=r"a\.png: not a file but a pipe, a socket or a device"):
            read(tmp_path / "a.png")


def test_a_link_to_itself_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("a.png")
    with pytest.raises(ImageError, match=r"a\.png: cannot be read: "):
        read_picture(tmp_path / "a.png")


def test_whatever_goes_wrong_is_an_error_of_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(texture(9, 9)).save(tmp_path / "a.png")

    def fail(*_: object) -> None:
        raise ZeroDivisionError("by chance")

    monkeypatch.setattr(decoders, "_check_kind", fail)
    for read in (read_size, read_picture, read_rgb8):
        with pytest.raises(ImageError, match=r"a\.png: cannot be read: ZeroDivisionError: by chance") as error:
            read(tmp_path / "a.png")
        assert isinstance(error.value.__cause__, ZeroDivisionError)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="lists open files as Linux does")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_a_file_is_neither_kept_open_nor_mapped(suffix: str, tmp_path: Path) -> None:
    """A mapped file that is cut short while it is read ends the process."""
    path = tmp_path / f"a{suffix}"
    Image.fromarray(texture(300, 200)).save(path)
    read_picture(path)
    read_size(path)
    gc.collect()
    opened = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert str(path) not in opened
    image = open_image(path, 10**9).image
    pyvips.Region.new(image).fetch(0, 0, 200, 5)
    assert str(path) not in Path("/proc/self/maps").read_text()


def test_a_jpeg_header_longer_than_what_is_read_of_it_first(tmp_path: Path) -> None:
    Image.fromarray(texture(30, 20)).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    filler = b"\xff\xec\xff\xff" + bytes(65533)
    (tmp_path / "a.jpg").write_bytes(data[:2] + filler * 20 + data[2:])
    assert read_size(tmp_path / "a.jpg") == (30, 20, 3)


@pytest.mark.parametrize("depth", [10, 12])
def test_avif_of_more_than_8_bits_keeps_its_levels(depth: int, tmp_path: Path) -> None:
    """From black to white, both of which are exact."""
    levels = np.linspace(0, 65535, 8).round().astype(np.uint16)
    pixels = np.repeat(levels, 8)[None, :, None].repeat(16, 0).repeat(3, 2)
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="rgb16")
    image.heifsave(str(tmp_path / "a.avif"), compression="av1", bitdepth=depth, lossless=True)
    found = read_picture(tmp_path / "a.avif").pixels[8, 4::8].astype(int)
    assert (found[0] == 0).all()
    assert (found[-1] == 65535).all()
    assert np.abs(found - levels[:, None]).max() < 65535 / 2**depth


@pytest.mark.parametrize("place", [1, 5], ids=["type", "data"])
def test_a_damaged_chunk_before_the_pixels_is_no_opaque_picture(place: int, tmp_path: Path) -> None:
    palette = Image.fromarray(texture(16, 16, 1)[..., 0]).convert("P")
    palette.save(tmp_path / "a.png", transparency=3)
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[content.index(b"tRNS") + place] ^= 1
    (tmp_path / "b.png").write_bytes(content)
    assert read_picture(tmp_path / "a.png").pixels.shape == (16, 16, 4)
    with pytest.raises(ImageError, match=r"b\.png: damaged: a checksum in it is wrong"):
        read_picture(tmp_path / "b.png")
    assert read_picture(tmp_path / "b.png", lenient=True).notes


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.png", "an animation"), ("a.webp", "an animation"), ("a.gif", "an animation"), ("a.tif", "a file of 2 pages")],
)
def test_only_single_pictures_are_training_images(name: str, message: str, tmp_path: Path) -> None:
    frames = [Image.fromarray(texture(16, 16, seed=seed)) for seed in (0, 1)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    for read in (read_rgb8, lambda path: decode_rgb8(path.read_bytes(), str(path))):
        with pytest.raises(ImageError, match=f"{message}; expected a single picture"):
            read(tmp_path / name)
    assert read_picture(tmp_path / name).pixels.shape[:2] == (16, 16)


def test_what_libraries_say_of_an_absurd_height_is_no_line_of_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    size = struct.pack(">I4sIII", 20, b"ispe", 0, 24, 18)
    content = pyvips.Image.new_from_array(texture(18, 24)).write_to_buffer(".avif")
    assert content.count(size) == 1
    source = tmp_path / "absurd.avif"
    source.write_bytes(content.replace(size, struct.pack(">I4sIII", 20, b"ispe", 0, 24, 0x68630012)))
    with pytest.raises(ImageError):
        read_picture(source)
    assert capfd.readouterr().err == ""


def test_a_resolution_that_makes_no_sense_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.new("RGB", (4, 3)).save(path, dpi=(4_000_000_000, 300))
    assert read_picture(path).resolution is None
