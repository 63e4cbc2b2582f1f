"""How strongly files were compressed, by real files of several encoders and by damaged ones."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import pyvips
from PIL import Image, features
from support import texture

from bgai.pictures.compression import PLAIN_FROM, Compression, read_compression

PICTURE = Image.fromarray(texture(64, 96))


def saved(kind: str, picture: Image.Image = PICTURE, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def saved_by_vips(suffix: str, **options: object) -> bytes:
    pixels = texture(64, 96)
    image = pyvips.Image.new_from_memory(pixels.tobytes(), 96, 64, 3, "uchar").copy(interpretation="srgb")
    data: bytes = image.write_to_buffer(suffix, **options)
    return data


def read(data: bytes) -> Compression:
    return read_compression(io.BytesIO(data))


def test_every_quality_of_libjpeg_is_read_exactly() -> None:
    small = PICTURE.resize((8, 8))
    assert [read(saved("JPEG", small, quality=quality)).quality for quality in range(1, 101)] == [*range(1, 101)]


@pytest.mark.parametrize(
    "options",
    [{"progressive": True}, {"subsampling": 0}, {"subsampling": 2, "optimize": True}, {"comment": b"\xff" * 99}],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_all_kinds_of_jpeg(options: dict[str, object], mode: str) -> None:
    assert read(saved("JPEG", PICTURE.convert(mode), quality=70, **options)) == Compression("JPEG", quality=70)


def test_a_thumbnail_is_not_the_picture() -> None:
    thumbnail = saved("JPEG", PICTURE.resize((16, 16)), quality=5)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HI", 0, 14) + thumbnail
    assert read(saved("JPEG", quality=92, exif=exif)).quality == 92


def test_the_luma_s_table_counts_wherever_it_stands() -> None:
    luma, chroma = ([step] * 64 for step in (3, 90))
    data = saved("JPEG", qtables=[luma, chroma])
    assert read(data).quality == read(saved("JPEG", qtables=[luma, luma])).quality
    # The number of the luma's table is in the frame header, behind the size and the component's own number.
    frame = data.index(b"\xff\xc0")
    exchanged = bytearray(data)
    exchanged[frame + 12] = 1
    assert read(bytes(exchanged)).quality == read(saved("JPEG", qtables=[chroma, chroma])).quality


def test_tables_that_are_not_libjpeg_s_lie_between_those_that_are() -> None:
    qualities = [read(saved("JPEG", qtables=[[step] * 64] * 2)).quality or 0 for step in (1, 2, 5, 10, 50, 255)]
    assert qualities == sorted(qualities, reverse=True)
    assert (qualities[0], qualities[-1]) == (100, 1)
    assert 90 < qualities[1] < 100


def with_wide_tables(data: bytes) -> bytes:
    """Steps of 16 bits instead of 8."""
    start = data.index(b"\xff\xdb")
    stop = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    body = data[start + 4 : stop]
    tables = [body[at : at + 65] for at in range(0, len(body), 65)]
    wide = b"".join(bytes([16 | table[0]]) + b"".join(bytes((0, step)) for step in table[1:]) for table in tables)
    return data[:start] + b"\xff\xdb" + (2 + len(wide)).to_bytes(2, "big") + wide + data[stop:]


def test_tables_of_sixteen_bits() -> None:
    assert read(with_wide_tables(saved("JPEG", quality=75))).quality == 75


@pytest.mark.parametrize(
    "damaged",
    [
        b"\xff\xd8\xff",
        b"\xff\xd8" + b"\xff" * 200_000,
        b"\xff\xd8\xff\xe0" + b"\0" * 200_000,
        b"\xff\xd8\xff\xdb\0\1",
        b"\xff\xd8\xff\xdb\0\x20" + b"\1" * 30 + b"\xff\xda",
        b"\xff\xd8\xff\xdb\0\x43\0" + bytes(64) + b"\xff\xda\0\2",
        b"\xff\xd8" + b"\xff\xfe\0\2" * 100_000,
        b"RIFF\x08\0\0\0WEBP",
        b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\x7f\0\0",
        b"RIFF\x08\0\0\0WEBP" + b"JUNK\0\0\0\0" * 1000,
        b"II*\0\xff\xff\xff\xff",
        b"\0\0\0\x20ftypavif",
        b"",
        b"text",
    ],
)
def test_what_is_damaged_counts_as_strongly_compressed(damaged: bytes) -> None:
    found = read(damaged)
    assert found.strong
    assert "unknown quality" in str(found)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "TIFF", "AVIF"])
def test_files_cut_anywhere_are_no_error(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow has no encoder of AVIF here")
    data = saved(kind)
    for length in range(0, min(len(data), 1500), 7):
        read(data[:length])


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF"])
def test_files_with_wrong_bytes_are_no_error(kind: str) -> None:
    random = np.random.default_rng(0)
    data = np.frombuffer(saved(kind), np.uint8)
    for _ in range(300):
        wrong = data.copy()
        places = random.integers(4, min(len(wrong), 700), 5)
        wrong[places] = random.integers(0, 256, 5)
        read(wrong.tobytes())


@pytest.mark.parametrize("quality", [20, 50, 75, 90, 98])
@pytest.mark.parametrize("method", [0, 6])
def test_the_quality_of_webp_is_about_right(quality: int, method: int) -> None:
    found = read(saved("WEBP", quality=quality, method=method))
    assert found.format == "WebP"
    assert found.quality == pytest.approx(quality, abs=15)
    assert found.strong == (quality < PLAIN_FROM)


def test_webp_with_transparency_and_metadata() -> None:
    picture = PICTURE.convert("RGBA")
    picture.putalpha(Image.fromarray(texture(64, 96, 1)[..., 0]))
    for options, lossless in (({"quality": 50}, False), ({"lossless": True}, True)):
        data = saved("WEBP", picture, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", **options)
        assert data[12:16] == b"VP8X"
        assert read(data).lossless == lossless


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (saved("PNG"), "lossless PNG"),
        (saved("WEBP", lossless=True), "lossless WebP"),
        (saved("TIFF"), "lossless TIFF"),
        (saved_by_vips(".tif", compression="deflate", bigtiff=True), "lossless TIFF"),
        (saved_by_vips(".tif", compression="lzw"), "lossless TIFF"),
        (saved_by_vips(".tif", compression="jpeg", Q=97), "JPEG TIFF of quality about 97"),
        (saved("JPEG", quality=97), "JPEG of quality about 97"),
    ],
)
def test_what_needs_no_cleaning(data: bytes, words: str) -> None:
    assert str(read(data)) == words
    assert not read(data).strong


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (saved("JPEG", quality=60), "JPEG of quality about 60"),
        (saved_by_vips(".tif", compression="jpeg", Q=70), "JPEG TIFF of quality about 70"),
        (saved_by_vips(".tif", compression="jpeg", Q=70, tile=True), "JPEG TIFF of quality about 70"),
        (saved_by_vips(".tif", compression="webp", Q=50), "lossy TIFF of unknown quality"),
    ],
)
def test_what_needs_cleaning(data: bytes, words: str) -> None:
    assert str(read(data)) == words
    assert read(data).strong


@pytest.mark.skipif(not features.check("avif"), reason="Pillow has no encoder of AVIF here")
def test_avif_goes_by_bits_a_pixel() -> None:
    picture = Image.fromarray(texture(256, 256))
    small, large = (read(saved("AVIF", picture, quality=quality)) for quality in (5, 95))
    assert small.strong
    assert not large.strong
    assert "AVIF of 0." in str(small)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GIF89a", "lossless GIF"),
        (b"BM" + bytes(60), "lossless BMP"),
        (b"\xff\n" + bytes(60), "JPEG XL of unknown quality"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL of unknown quality"),
        (b"\0\0\0\x18ftypheic" + bytes(60), "HEIC of unknown quality"),
    ],
)
def test_other_kinds_by_their_first_bytes(head: bytes, expected: str) -> None:
    assert str(read(head)) == expected
