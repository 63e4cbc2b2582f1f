"""EXIF of enlarged copies: nothing invented, nothing that is no longer true, all else as it was."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import texture

from bgai.pictures.exif_block import fit_exif, resolution_exif
from bgai.pictures.reading import read_picture
from bgai.pictures.writing import write_picture

exiftool = pytest.mark.skipif(not shutil.which("exiftool"), reason="needs exiftool")


def exif(**more: Any) -> Image.Exif:
    block = Image.Exif()
    block[0x010F], block[0x0112], block[0x9C9B] = "Maker", 6, "title".encode("utf-16-le")
    block.get_ifd(0x8769).update({0x829A: 0.5, 0xA002: 30, 0xA003: 20, 0x927C: bytes(range(200))})
    block.get_ifd(0x8825)[1] = "N"
    return block


def with_thumbnail() -> bytes:
    """As Pillow writes the first directory, and a second one with a thumbnail at the end."""
    block = exif().tobytes().removeprefix(b"Exif\0\0")
    order = "little" if block.startswith(b"II") else "big"

    def pack(*numbers: tuple[int, int]) -> bytes:
        return b"".join(number.to_bytes(size, order) for number, size in numbers)  # type: ignore[arg-type]

    main = int.from_bytes(block[4:8], order)  # type: ignore[arg-type]
    link = main + 2 + 12 * int.from_bytes(block[main : main + 2], order)  # type: ignore[arg-type]
    second = len(block)
    thumbnail = b"THUMBNAIL"
    entries = pack((2, 2), (0x201, 2), (4, 2), (1, 4), (second + 30, 4), (0x202, 2), (4, 2), (1, 4), (9, 4), (0, 4))
    return block[:link] + pack((second, 4)) + block[link + 4 :] + entries + thumbnail


def read(block: bytes) -> Image.Exif:
    found = Image.Exif()
    found.load(b"Exif\0\0" + block)
    return found


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_sizes_and_orientation_are_made_true(prefix: bytes) -> None:
    block = fit_exif(prefix + exif().tobytes().removeprefix(b"Exif\0\0"), (70_000, 41))
    assert block is not None
    found = read(block)
    assert (found[0x010F], found[0x0112]) == ("Maker", 1)
    inner = found.get_ifd(0x8769)
    assert (inner[0xA002], inner[0xA003], inner[0x829A]) == (41, 70_000, 0.5)
    assert inner[0x927C] == bytes(range(200))
    assert found.get_ifd(0x8825)[1] == "N"


def test_the_thumbnail_is_taken_out() -> None:
    assert b"THUMBNAIL" in with_thumbnail()
    block = fit_exif(with_thumbnail(), (40, 60))
    assert block is not None
    assert b"THUMBNAIL" not in block
    assert read(block)[0x010F] == "Maker"
    assert not read(block).get_ifd(0x201)


@pytest.mark.parametrize("block", [b"", b"Exif\0\0", b"II*\0\xff\0\0\0", b"II*\0\x08\0\0\0\x05\0", b"no EXIF at all"])
def test_damaged_blocks(block: bytes) -> None:
    assert fit_exif(block, (1, 1)) is None


def test_a_block_for_the_resolution() -> None:
    found = read(resolution_exif((11.811, 5.9055)))
    assert (found[0x011A], found[0x011B], found[0x0128]) == pytest.approx((300, 150, 2), abs=0.02)


def tags(path: Path) -> dict[str, Any]:
    """What is said of a picture, but for its format."""
    command = ["exiftool", "-j", "-a", "-G1", "-n", str(path)]
    (found,) = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    format_alone = {"SourceFile", "System", "ExifTool", "Composite", "File", "PNG", "RIFF", "QuickTime", "Meta", "GIF"}
    format_alone.add("JFIF")
    return {name: value for name, value in found.items() if name.split(":")[0] not in format_alone}


def enlarged(source: Path, suffix: str) -> Path:
    picture = read_picture(source)
    target = source.with_name(f"out{suffix}")
    with write_picture(target, picture, 2 * picture.pixels.shape[1]) as writer:
        writer.write(np.repeat(np.repeat(picture.pixels, 2, axis=0), 2, axis=1))
    return target


@exiftool
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif", ".gif"])
def test_nothing_is_said_of_a_picture_that_says_nothing(suffix: str, tmp_path: Path) -> None:
    Image.fromarray(texture(20, 30)).save(tmp_path / "a.png")
    assert tags(enlarged(tmp_path / "a.png", suffix)) == {}


@exiftool
@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.webp"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_exiftool_finds_the_same_tags(source: str, suffix: str, tmp_path: Path) -> None:
    Image.fromarray(texture(20, 30)).save(tmp_path / source, exif=exif())
    before, target = tags(tmp_path / source), enlarged(tmp_path / source, suffix)
    assert len(before) >= 7
    changed = {"IFD0:Orientation": 1, "ExifIFD:ExifImageWidth": 40, "ExifIFD:ExifImageHeight": 60}
    assert tags(target) == before | changed
    assert Image.open(target).size == (40, 60)
    said = subprocess.run(["exiftool", "-warning", "-error", str(target)], capture_output=True, text=True, check=True)
    assert (
        said.stdout
        == subprocess.run(
            ["exiftool", "-warning", "-error", str(tmp_path / source)], capture_output=True, text=True, check=True
        ).stdout
    )


@exiftool
def test_exiftool_finds_them_in_tiff(tmp_path: Path) -> None:
    Image.fromarray(texture(20, 30)).save(tmp_path / "a.jpg", exif=exif())
    found = tags(enlarged(tmp_path / "a.jpg", ".tif"))
    assert found["IFD0:Make"] == "Maker"
    assert found["ExifIFD:ExposureTime"] == 0.5
    assert not {"ExifIFD:ExifVersion", "ExifIFD:ColorSpace"} & found.keys()


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_plain_webp_gets_exif(channels: int, lossless: bool, tmp_path: Path) -> None:
    """Which needs an extended header."""
    from bgai.pictures.exif_block import add_webp_exif

    pixels = texture(20, 31, channels)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "webp", lossless=lossless)
    before = np.array(Image.open(io.BytesIO(file.getvalue())))
    add_webp_exif(file, exif().tobytes().removeprefix(b"Exif\0\0"), (20, 31))
    image = Image.open(io.BytesIO(file.getvalue()))
    np.testing.assert_array_equal(np.array(image), before)
    assert image.getexif()[0x010F] == "Maker"
    (tmp_path / "a.webp").write_bytes(file.getvalue())
    np.testing.assert_array_equal(read_picture(tmp_path / "a.webp").pixels.shape[:2], (31, 20))


def test_the_resolution_reaches_webp(tmp_path: Path) -> None:
    Image.fromarray(texture(20, 30)).save(tmp_path / "a.png", dpi=(300, 150))
    found = Image.open(enlarged(tmp_path / "a.png", ".webp")).getexif()
    assert (found[0x011A], found[0x011B], found[0x0128]) == pytest.approx((300, 150, 2), abs=0.02)


def test_damaged_exif_is_left_out_with_a_note(tmp_path: Path) -> None:
    Image.fromarray(texture(20, 30)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\0\0\0")
    picture = read_picture(tmp_path / "a.jpg")
    with write_picture(tmp_path / "b.jpg", picture, 30) as writer:
        writer.write(picture.pixels)
        assert "EXIF was left out: it is damaged" in writer.notes
    assert not Image.open(tmp_path / "b.jpg").getexif()
