"""Picture files: every kind read and written, and what is refused."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms, ImageOps
from support import texture

from bgai.errors import ImageError, OutputError
from bgai.pictures import picture_files as image
from bgai.pictures.picture_files import (
    check_output,
    decode_rgb8,
    encode_png,
    mapped_file,
    read_picture,
    read_rgb8,
    read_size,
    write_picture,
)

KINDS = {"grey": 1, "grey-alpha": 2, "rgb": 3, "rgba": 4}


def rewrite(source: Path, target: Path) -> None:
    """Copy a picture through our reader and writer, in strips."""
    picture = read_picture(source)
    with write_picture(target, picture, picture.pixels.shape[1], quality=95) as writer:
        for start in range(0, len(picture.pixels), 7):
            writer.write(picture.pixels[start : start + 7])


def save(pixels: np.ndarray, path: Path, **options: object) -> None:
    image = pyvips.Image.new_from_array(pixels)
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    deep = pixels.dtype == np.uint16
    kind = ("grey16" if deep else "b-w") if bands < 3 else ("rgb16" if deep else "srgb")
    image.copy(interpretation=kind).write_to_file(str(path), **options)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", KINDS)
def test_lossless_formats_keep_every_sample(kind: str, dtype: type, suffix: str, tmp_path: Path) -> None:
    pixels = texture(31, 20, KINDS[kind]).astype(dtype)
    if dtype == np.uint16:
        pixels = pixels * np.uint16(251) + np.uint16(3)
    pixels = pixels[..., 0] if kind == "grey" else pixels
    save(pixels, tmp_path / f"in{suffix}")
    rewrite(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    again = read_picture(tmp_path / f"out{suffix}").pixels
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, pixels)


@pytest.mark.parametrize(("suffix", "kinds"), [(".jpg", ("grey", "rgb")), (".webp", ("rgb", "rgba"))])
def test_lossy_formats_stay_close(suffix: str, kinds: tuple[str, ...], tmp_path: Path) -> None:
    for kind in kinds:
        pixels = np.full((24, 30, KINDS[kind]), 90, np.uint8)
        pixels = pixels[..., 0] if kind == "grey" else pixels
        save(pixels, tmp_path / f"{kind}{suffix}")
        rewrite(tmp_path / f"{kind}{suffix}", tmp_path / f"{kind}-out{suffix}")
        again = read_picture(tmp_path / f"{kind}-out{suffix}").pixels
        assert again.shape == pixels.shape
        assert np.abs(again.astype(int) - pixels).max() <= 3


def test_another_reader_agrees_on_16_bit_grey(tmp_path: Path) -> None:
    pixels = (texture(9, 14, 1)[..., 0].astype(np.uint16) * 257) ^ 5
    save(pixels, tmp_path / "in.png")
    rewrite(tmp_path / "in.png", tmp_path / "out.png")
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "out.png")), pixels)


@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_become_colours(transparent: bool, tmp_path: Path) -> None:
    image = Image.fromarray(texture(20, 20)).quantize(7)
    image.save(tmp_path / "p.png", **({"transparency": 0} if transparent else {}))
    expected = np.array(Image.open(tmp_path / "p.png").convert("RGBA" if transparent else "RGB"))
    np.testing.assert_array_equal(read_picture(tmp_path / "p.png").pixels, expected)


def test_one_bit_becomes_grey(tmp_path: Path) -> None:
    bits = texture(16, 21, 1)[..., 0] > 128
    Image.fromarray(bits).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "b.png").pixels, bits * np.uint8(255))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_profile_exif_and_resolution_are_kept(suffix: str, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Maker", "Model", 1
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    Image.fromarray(texture(20, 30)).save(
        tmp_path / f"in{suffix}", icc_profile=profile, exif=exif.tobytes(), dpi=(300, 300)
    )
    rewrite(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    out = Image.open(tmp_path / f"out{suffix}")
    assert out.info["icc_profile"] == profile
    assert out.getexif()[0x0110] == "Model"
    assert out.getexif().get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"
    if suffix != ".webp":  # which has no field for it
        assert round(float(out.info["dpi"][0])) == 300


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_orientation_is_applied_and_its_tag_reset(suffix: str, orientation: int, tmp_path: Path) -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :16] = 200  # one bright corner tells where up is
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / f"in{suffix}", exif=exif)
    upright = np.array(ImageOps.exif_transpose(Image.open(tmp_path / f"in{suffix}")).convert("RGB"))
    assert read_size(tmp_path / f"in{suffix}") == upright.shape
    rewrite(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    out = Image.open(tmp_path / f"out{suffix}")
    assert out.getexif().get(0x0112, 1) == 1
    assert np.abs(np.array(out.convert("RGB")).astype(int) - upright).max() < 40


def test_a_thumbnail_of_the_old_picture_is_dropped(tmp_path: Path) -> None:
    small = io.BytesIO()
    Image.fromarray(texture(8, 8)).save(small, "jpeg")
    image = pyvips.Image.new_from_array(texture(20, 20)).copy(interpretation="srgb")
    image.set_type(pyvips.GValue.blob_type, "jpeg-thumbnail-data", small.getvalue())
    image.jpegsave(str(tmp_path / "in.jpg"))
    rewrite(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert not pyvips.Image.new_from_file(str(tmp_path / "out.jpg")).get_typeof("jpeg-thumbnail-data")


def test_cmyk_is_converted_with_a_note(tmp_path: Path) -> None:
    Image.new("CMYK", (12, 10), (0, 255, 255, 0)).save(tmp_path / "c.jpg")
    picture = read_picture(tmp_path / "c.jpg")
    assert picture.pixels.shape == (10, 12, 3)
    assert picture.pixels[5, 5, 0] > 150 > picture.pixels[5, 5, 2]
    assert "CMYK" in picture.notes[0]
    assert read_size(tmp_path / "c.jpg") == (10, 12, 3)


def test_sixteen_bits_in_an_eight_bit_format_are_rounded_with_a_note(tmp_path: Path) -> None:
    save(np.full((10, 10, 3), 257 * 100 + 129, np.uint16), tmp_path / "in.png")
    picture = read_picture(tmp_path / "in.png")
    with write_picture(tmp_path / "out.webp", picture, 10, quality=100) as writer:
        writer.write(picture.pixels)
        assert "16 bits became 8" in writer.notes[0]
    assert abs(int(read_rgb8(tmp_path / "out.webp")[5, 5, 1]) - 101) <= 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_kind_as_rgb8(kind: str, dtype: type, tmp_path: Path) -> None:
    pixels = np.full((6, 5, KINDS[kind]), 77 if dtype == np.uint8 else 77 * 257, dtype)
    save(pixels[..., 0] if kind == "grey" else pixels, tmp_path / "a.png")
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


def test_an_encoded_png_holds_the_pixels_of_a_part() -> None:
    pixels = texture(40, 50)[3:30, 5:44]
    image = Image.open(io.BytesIO(encode_png(pixels)))
    assert (image.format, image.mode) == ("PNG", "RGB")
    np.testing.assert_array_equal(np.array(image), pixels)


def animated_png(path: Path) -> None:
    frames = [Image.fromarray(texture(8, 8, seed=seed)) for seed in (0, 1)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def two_pages(path: Path) -> None:
    frames = [Image.fromarray(texture(16, 16, seed=seed)) for seed in (0, 1)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def bomb(path: Path) -> None:
    """A PNG of 40,000 x 40,000 pixels in a few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def floating(path: Path) -> None:
    pyvips.Image.new_from_array(np.zeros((8, 8, 3), np.float32)).tiffsave(str(path))


def truncated(path: Path) -> None:
    Image.fromarray(texture(200, 200)).save(path)
    path.write_bytes(path.read_bytes()[:-3000])


BROKEN = {
    "missing.png": (lambda path: None, "No such file"),
    "empty.png": (lambda path: path.touch(), "is empty"),
    "folder.png": (lambda path: path.mkdir(), "cannot be read"),
    "text.png": (lambda path: path.write_text("hello"), "not a picture"),
    "header.jpg": (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0"), "not a picture"),
    "truncated.png": (truncated, "damaged or cut short"),
    "truncated.jpg": (truncated, "damaged or cut short"),
    "truncated.webp": (truncated, "damaged"),
    "truncated.tif": (truncated, "damaged"),
    "bomb.png": (bomb, "--max-megapixels"),
    "animated.png": (animated_png, "animation"),
    "animated.webp": (two_pages, "animation"),
    "pages.tif": (two_pages, "several pages"),
    "float.tif": (floating, "8 or 16 bits"),
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
    assert (message if name != "empty.png" else "not a picture") in str(error.value)
    assert str(error.value).startswith("the name: ")
    assert "\n" not in str(error.value)


def test_the_limit_can_be_raised(tmp_path: Path) -> None:
    save(texture(30, 30), tmp_path / "a.png")
    with pytest.raises(ImageError, match="limit"):
        read_picture(tmp_path / "a.png", max_pixels=899)
    assert read_picture(tmp_path / "a.png", max_pixels=900).pixels.shape == (30, 30, 3)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("a.webp", (10, 16384, 3), "16383"),
        ("a.jpg", (65_501, 10, 3), "65500"),
        ("a.jpg", (10, 10, 4), "transparency"),
        ("a.bmp", (10, 10, 3), "unknown output format"),
        ("a", (10, 10, 3), "unknown output format"),
    ],
)
def test_outputs_that_a_format_cannot_hold(name: str, size: tuple[int, int, int], message: str) -> None:
    with pytest.raises(OutputError, match=message):
        check_output(Path(name), *size)


def test_a_writer_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    save(texture(10, 10), tmp_path / "in.png")
    picture = read_picture(tmp_path / "in.png")
    with pytest.raises(KeyboardInterrupt), write_picture(tmp_path / "out.png", picture, 10) as writer:
        writer.write(picture.pixels)
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


@pytest.mark.parametrize(("before", "after"), [(".jpg", ".tif"), (".tif", ".jpg"), (".tif", ".png")])
def test_exif_goes_from_format_to_format(before: str, after: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0110], exif[0x0112] = "Model", 6
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    Image.fromarray(texture(20, 30)).save(tmp_path / f"in{before}", exif=exif.tobytes())
    picture = read_picture(tmp_path / f"in{before}")
    with write_picture(tmp_path / f"out{after}", picture, 20) as writer:
        writer.write(picture.pixels)
    found = Image.open(tmp_path / f"out{after}").getexif()
    assert found[0x0110] == "Model"
    assert found.get(0x0112, 1) == 1
    assert found.get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"
    assert read_picture(tmp_path / f"out{after}").pixels.shape == (30, 20, 3)


def test_another_kind_of_file_under_a_known_name(tmp_path: Path) -> None:
    Image.fromarray(texture(8, 8)).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.png")
    with pytest.raises(ImageError, match="not a picture of a kind that is read"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_no_exif_is_invented(suffix: str, tmp_path: Path) -> None:
    Image.fromarray(texture(20, 20)).save(tmp_path / f"in{suffix}")
    rewrite(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    assert "exif" not in Image.open(tmp_path / f"out{suffix}").info


@pytest.mark.parametrize("depth", [8, 10, 12])
def test_avif_of_any_depth_is_white_at_white(depth: int, tmp_path: Path) -> None:
    top = 255 if depth == 8 else 65535
    white = pyvips.Image.new_from_array(np.full((16, 16, 3), top, np.uint8 if depth == 8 else np.uint16))
    kind = "srgb" if depth == 8 else "rgb16"
    white.copy(interpretation=kind).heifsave(str(tmp_path / "a.avif"), compression="av1", bitdepth=depth, lossless=True)
    assert read_picture(tmp_path / "a.avif").pixels.min() >= top * 0.999


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_of_one_pixel(kind: str, tmp_path: Path) -> None:
    pixels = np.full((1, 1, KINDS[kind]), 9, np.uint8)
    pixels = pixels[..., 0] if kind == "grey" else pixels
    save(pixels, tmp_path / "in.png")
    rewrite(tmp_path / "in.png", tmp_path / "out.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "out.png").pixels, pixels, strict=True)


# Of getrusage a child has its parent's.
PEAK = """
import re
from pathlib import Path
import numpy as np
from bgai.pictures.picture_files import read_picture, write_picture
def peak() -> int:
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
like = read_picture(Path("small.jpg"))
"""


def peak_growth(code: str, folder: Path) -> int:
    """KB more than before that the process took at most, as the code prints it."""
    Image.fromarray(texture(8, 8)).save(folder / "small.jpg")
    command = [sys.executable, "-c", PEAK + code]
    return int(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout)


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
    monkeypatch.setattr(image, "_MOST_IN_MEMORY", 100)
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


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="counts memory as Linux does")
def test_what_is_encoded_does_not_count_as_memory(tmp_path: Path) -> None:
    code = """
noise = np.random.default_rng(0).integers(0, 256, (250, 8000, 3), np.uint8)
with write_picture(Path("large.png"), like, 8000) as writer:
    for _ in range(24):
        writer.write(noise)
    before = peak()
print(peak() - before)
"""
    assert peak_growth(code, tmp_path) < 70_000  # of rows of 144 MB
    assert Image.open(tmp_path / "large.png").size == (8000, 6000)
