"""BMP files to arrays.

Source: Microsoft, "Bitmap Storage" and the structures BITMAPCOREHEADER, BITMAPINFOHEADER, BITMAPV4HEADER and
BITMAPV5HEADER.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from bgai.errors import ImageError

_CORE, _INFO = 12, 40  # sizes of headers
_HEADERS = (_CORE, _INFO, 52, 56, 64, 108, 124)
_UNCOMPRESSED, _RLE8, _RLE4, _BIT_FIELDS, _ALPHA_BIT_FIELDS = 0, 1, 2, 3, 6
_RUN_LENGTHS = {_RLE8: 8, _RLE4: 4}  # bits of an index, by compression
_END_OF_ROW, _END, _MOVE = 0, 1, 2
_DEFAULT_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 24: (0xFF0000, 0xFF00, 0xFF, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
_BYTES_AT_ONCE = 2**20


@dataclass(frozen=True, slots=True)
class BmpHeader:
    """What the headers of a BMP file say."""

    width: int
    height: int
    bits: int
    """Of a pixel."""
    top_down: bool
    start: int
    """Where the pixels lie in the file."""
    masks: tuple[int, int, int, int]
    """Bits of red, green, blue and alpha, where there is no palette."""
    palette: NDArray[np.uint8] | None
    """n x 3."""
    resolution: tuple[float, float] | None
    """Pixels per millimetre across and down."""
    has_runs: bool = False
    """Whether equal pixels are counted, which is the compression RLE."""

    @property
    def channels(self) -> int:
        return 3 if self.palette is not None or not self.masks[3] else 4


def read_bmp_header(file: BinaryIO, name: object) -> BmpHeader:
    """Read the headers of a BMP file from its start; `name` stands for it in errors.

    Raises:
        ImageError: They are damaged, or of a kind that is not read.
    """
    try:
        return _header(file, name)
    except struct.error as error:
        raise ImageError(f"{name}: damaged or cut short: the header of a BMP ends early") from error


def _header(file: BinaryIO, name: object) -> BmpHeader:
    file.seek(10)
    start, size = struct.unpack("<II", file.read(8))
    if size not in _HEADERS:
        raise ImageError(f"{name}: damaged: no BMP has a header of {size} bytes")
    head = file.read(size - 4)
    if size == _CORE:
        width, height, _, bits = struct.unpack("<HHHH", head)
        compression, across, down, colours = _UNCOMPRESSED, 0, 0, 0
    else:
        width, height, _, bits, compression, _, across, down, colours = struct.unpack_from("<iiHHIIiiI", head)
    if compression not in (_UNCOMPRESSED, _RLE8, _RLE4, _BIT_FIELDS, _ALPHA_BIT_FIELDS):
        raise ImageError(f"{name}: a BMP of compression {compression}; expected RLE or none: save it as PNG")
    if bits != _RUN_LENGTHS.get(compression, bits) or (compression in _RUN_LENGTHS and height < 0):
        raise ImageError(f"{name}: damaged: a BMP of compression {compression} and {bits} bits")
    if bits not in (1, 2, 4, 8, 16, 24, 32) or width <= 0 or height == 0:
        raise ImageError(f"{name}: damaged: a BMP of {width} x {height} pixels of {bits} bits")
    masks = _DEFAULT_MASKS.get(bits, (0, 0, 0, 0))
    if compression in (_BIT_FIELDS, _ALPHA_BIT_FIELDS):
        count = 4 if size > 52 or compression == _ALPHA_BIT_FIELDS else 3
        fields = head[36 : 36 + 4 * count] if size > _INFO else file.read(4 * count)
        red, green, blue, *alpha = struct.unpack(f"<{count}I", fields)
        masks = (red, green, blue, alpha[0] if alpha else 0)
    palette = None
    if bits <= 8:
        entry = 3 if size == _CORE else 4
        entries = np.frombuffer(file.read(entry * min(colours or 2**bits, 2**bits)), np.uint8)
        if not len(entries) or len(entries) % entry:
            raise struct.error
        palette = entries.reshape(-1, entry)[:, 2::-1]
    resolution = (across / 1000, down / 1000) if 0 < min(across, down) <= max(across, down) < 10**8 else None
    return BmpHeader(
        width, abs(height), bits, height < 0, start, masks, palette, resolution, compression in _RUN_LENGTHS
    )


def read_bmp_pixels(file: BinaryIO, header: BmpHeader, name: object) -> NDArray[np.uint8]:
    """Decode the pixels to H x W x 3 or 4; `name` stands for the file in errors.

    Raises:
        ImageError: The file is cut short.
    """
    if header.has_runs:
        file.seek(header.start)
        return _colours(_run_lengths(file.read(), header, name)[::-1], header)
    stride = (header.width * header.bits + 31) // 32 * 4
    pixels = np.empty((header.height, header.width, header.channels), np.uint8)
    rows = pixels if header.top_down else pixels[::-1]
    at_once = max(1, _BYTES_AT_ONCE // stride)
    file.seek(header.start)
    for top in range(0, header.height, at_once):
        part = rows[top : top + at_once]
        data = file.read(len(part) * stride)
        if len(data) < len(part) * stride:
            raise ImageError(f"{name}: damaged or cut short: the pixels of a BMP end early")
        part[:] = _decode(np.frombuffer(data, np.uint8).reshape(len(part), stride), header)
    if header.channels == 4 and not pixels[..., 3].any():  # programs that mean no transparency
        pixels[..., 3] = 255
    return pixels


def _decode(rows: NDArray[np.uint8], header: BmpHeader) -> NDArray[np.uint8]:
    """Bytes of some rows to their colours."""
    if header.palette is not None:
        return _colours(_indices(rows, header), header)
    if header.bits == 24:
        swapped = rows[:, : 3 * header.width].reshape(len(rows), header.width, 3)
        return np.flip(swapped, axis=-1)
    values: NDArray[np.unsignedinteger] = rows.view("<u2" if header.bits == 16 else "<u4")[:, : header.width]
    return np.stack([_channel(values, mask) for mask in header.masks[: header.channels]], axis=-1)


def _colours(indices: NDArray[np.uint8], header: BmpHeader) -> NDArray[np.uint8]:
    """Those of the palette."""
    palette = header.palette if header.palette is not None else np.zeros((1, 3), np.uint8)
    colours: NDArray[np.uint8] = palette[np.minimum(indices, len(palette) - 1)]
    return colours


def _run_lengths(data: bytes, header: BmpHeader, name: object) -> NDArray[np.uint8]:
    """Indices of rows from the bottom; those that are left out are 0."""
    indices = np.zeros((header.height, header.width), np.uint8)
    packed = np.frombuffer(data, np.uint8)
    x = y = at = 0
    while at + 1 < len(data) and y < header.height:
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            run = packed[at - 1 : at].repeat(count) if header.bits == 8 else _nibbles(packed[at - 1 : at], count)
        elif value == _END:
            return indices
        elif value == _END_OF_ROW:
            x, y = 0, y + 1
            continue
        elif value == _MOVE:
            across, up = data[at : at + 2].ljust(2, b"\0")
            x, y, at = x + across, y + up, at + 2
            continue
        else:
            size = value if header.bits == 8 else (value + 1) // 2
            run = packed[at : at + size]
            run = run if header.bits == 8 else _nibbles(run, value)
            at += size + size % 2
        place = indices[y, x : x + len(run)]
        place[:] = run[: len(place)]
        x += len(run)
    if y >= header.height:
        return indices
    raise ImageError(f"{name}: damaged or cut short: the pixels of a BMP end early")


def _nibbles(packed: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """As many halves of bytes, over and over."""
    return np.resize(np.stack((packed >> 4, packed & 15), axis=1).reshape(-1), count)


def _indices(rows: NDArray[np.uint8], header: BmpHeader) -> NDArray[np.uint8]:
    shifts = np.arange(8 - header.bits, -1, -header.bits, dtype=np.uint8)
    mask = np.uint8(2**header.bits - 1)
    return (rows[..., None] >> shifts & mask).reshape(len(rows), -1)[:, : header.width]


def _channel(values: NDArray[np.unsignedinteger], mask: int) -> NDArray[np.uint8]:
    """The bits of a mask, stretched to 0 to 255."""
    if not mask:
        return np.zeros(values.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    scaled = (values & mask).astype(np.uint32) >> shift
    most = mask >> shift
    if most == 255:
        return scaled.astype(np.uint8)
    stretched: NDArray[np.float64] = np.rint(scaled * (255 / most))
    return stretched.astype(np.uint8)
