"""BMP: every kind of pixels that programs write, compared with Pillow."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import texture

from bgai.errors import ImageError
from bgai.pictures.reading import read_picture, read_size
from bgai.types import Pixels


def write_bmp(path: Path, rows: bytes, size: tuple[int, int], bits: int, **options: object) -> None:
    """A BMP of `size` pixels, width and height, from packed rows."""
    masks = options.get("masks", ())
    assert isinstance(masks, tuple)
    palette = options.get("palette", b"")
    assert isinstance(palette, bytes)
    header = struct.pack("<IiiHHIIiiII", 40 + 16 * (len(masks) == 4), *size, 1, bits, 3 if masks else 0, 0, 0, 0, 0, 0)
    body = header + struct.pack(f"<{len(masks)}I", *masks) + palette
    path.write_bytes(b"BM" + struct.pack("<IHHI", 14 + len(body) + len(rows), 0, 0, 14 + len(body)) + body + rows)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
@pytest.mark.parametrize("width", [5, 8, 33])
def test_as_pillow_writes_it(mode: str, width: int, tmp_path: Path) -> None:
    image = Image.fromarray(texture(7, width)).convert(mode)
    image.save(tmp_path / "a.bmp", dpi=(300, 300))
    picture = read_picture(tmp_path / "a.bmp")
    np.testing.assert_array_equal(picture.pixels, np.array(image.convert("RGB")))
    assert read_size(tmp_path / "a.bmp") == (7, width, 3)
    assert picture.resolution == pytest.approx((11.811, 11.811), abs=0.001)


def colours(alpha: bool = False) -> Pixels:
    return texture(6, 5, 4 if alpha else 3)


@pytest.mark.parametrize("top_down", [False, True])
def test_32_bits_without_alpha(top_down: bool, tmp_path: Path) -> None:
    """The fourth byte means nothing, though many programs leave it 0."""
    rows = np.concatenate((colours()[..., ::-1], np.zeros((6, 5, 1), np.uint8)), axis=2)
    write_bmp(tmp_path / "a.bmp", (rows if top_down else rows[::-1]).tobytes(), (5, -6 if top_down else 6), 32)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.bmp").pixels, colours())


def test_32_bits_with_alpha(tmp_path: Path) -> None:
    rows = colours(alpha=True)[::-1]
    masks = (0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    write_bmp(tmp_path / "a.bmp", rows.tobytes(), (5, 6), 32, masks=masks)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.bmp").pixels, colours(alpha=True))
    without = rows.copy()
    without[..., 3] = 0
    write_bmp(tmp_path / "a.bmp", without.tobytes(), (5, 6), 32, masks=masks)
    assert read_picture(tmp_path / "a.bmp").pixels[..., 3].min() == 255


@pytest.mark.parametrize(("masks", "bits"), [((), (5, 5, 5)), ((0xF800, 0x7E0, 0x1F), (5, 6, 5))])
def test_16_bits(masks: tuple[int, ...], bits: tuple[int, ...], tmp_path: Path) -> None:
    levels = np.stack([colours()[..., i] >> (8 - bits[i]) for i in range(3)], axis=-1).astype(np.uint16)
    packed = levels[..., 0] << (bits[1] + bits[2]) | levels[..., 1] << bits[2] | levels[..., 2]
    rows = np.pad(packed, ((0, 0), (0, 1)))[::-1].astype("<u2")
    write_bmp(tmp_path / "a.bmp", rows.tobytes(), (5, 6), 16, masks=masks)
    expected = np.rint(levels * (255 / (2.0 ** np.array(bits) - 1)))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.bmp").pixels, expected)


def test_4_bits_with_a_short_palette(tmp_path: Path) -> None:
    palette = bytes((1, 2, 3, 0, 40, 50, 60, 0))
    header = struct.pack("<IiiHHIIiiII", 40, 3, 1, 1, 4, 0, 0, 0, 0, 2, 0)
    body = header + palette
    path = tmp_path / "a.bmp"
    path.write_bytes(b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(body)) + body + bytes((0x10, 0xF0, 0, 0)))
    np.testing.assert_array_equal(read_picture(path).pixels, [[(60, 50, 40), (3, 2, 1), (60, 50, 40)]])


@pytest.mark.parametrize("length", [20, 40, 60, 100])
def test_a_bmp_that_is_cut_short(length: int, tmp_path: Path) -> None:
    Image.fromarray(texture(7, 9)).save(tmp_path / "a.bmp")
    (tmp_path / "a.bmp").write_bytes((tmp_path / "a.bmp").read_bytes()[:length])
    with pytest.raises(ImageError, match="damaged"):
        read_picture(tmp_path / "a.bmp")


# Of 6 x 4 pixels, from the bottom: runs, single pixels in an even and an odd number, and a move across two rows.
RUNS = {
    8: (
        bytes((4, 7, 2, 9, 0, 0, 0, 3, 1, 2, 3, 0, 0, 3, 4, 5, 6, 0, 0, 0, 0, 2, 2, 1, 4, 8, 0, 1)),
        [[0, 0, 8, 8, 8, 8], [0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6], [7, 7, 7, 7, 9, 9]],
    ),
    4: (
        bytes((5, 0x78, 1, 0x90, 0, 0, 0, 3, 0x12, 0x30, 3, 0x45, 0, 0, 0, 2, 2, 1, 4, 0x89, 0, 1)),
        [[0, 0, 8, 9, 8, 9], [0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 4], [7, 8, 7, 8, 7, 9]],
    ),
}


def write_runs(path: Path, bits: int, data: bytes, compression: int = 0) -> None:
    write_bmp(
        path,
        data,
        (6, 4),
        bits,
        palette=b"".join(bytes((9 * i, 5 * i, 3 * i, 0)) for i in range(16)) + bytes(4 * (2**bits - 16)),
    )
    content = bytearray(path.read_bytes())
    content[30] = compression or {8: 1, 4: 2}[bits]
    path.write_bytes(content)


@pytest.mark.parametrize("bits", [8, 4])
def test_run_lengths(bits: int, tmp_path: Path) -> None:
    data, indices = RUNS[bits]
    write_runs(tmp_path / "a.bmp", bits, data)
    expected = np.array(indices)[..., None] * np.array((3, 5, 9))
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "a.bmp").convert("RGB")), expected)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.bmp").pixels, expected)


def test_run_lengths_that_leave_the_picture_or_end_early(tmp_path: Path) -> None:
    write_runs(tmp_path / "a.bmp", 8, bytes((200, 1, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 2, 0, 9)))
    assert read_picture(tmp_path / "a.bmp").pixels[-1].tolist() == [[3, 5, 9]] * 6
    for data in (RUNS[8][0][:-2], bytes((3, 1, 0, 2, 5)), b""):
        write_runs(tmp_path / "a.bmp", 8, data)
        with pytest.raises(ImageError, match="the pixels of a BMP end early"):
            read_picture(tmp_path / "a.bmp")
    write_runs(tmp_path / "a.bmp", 8, RUNS[8][0], compression=2)
    with pytest.raises(ImageError, match="compression 2 and 8 bits"):
        read_picture(tmp_path / "a.bmp")
    write_runs(tmp_path / "a.bmp", 8, RUNS[8][0], compression=4)
    with pytest.raises(ImageError, match="a BMP of compression 4; expected RLE or none"):
        read_picture(tmp_path / "a.bmp")


def test_the_limit_comes_before_the_pixels(tmp_path: Path) -> None:
    write_bmp(tmp_path / "a.bmp", b"", (60_000, 60_000), 24)
    with pytest.raises(ImageError, match="limit of 200 megapixels"):
        read_picture(tmp_path / "a.bmp")
