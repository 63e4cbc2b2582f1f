"""EXIF blocks (Exif 2.32, section 4.5), changed in their place for an enlarged copy; and put into files.

libvips writes EXIF anew, and with it tags that nobody set: a version, a colour space, a resolution.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from bgai.pictures.jpeg_segments import insert_first, segment
from bgai.types import Size

PREFIX = b"Exif\0\0"
MOST_IN_JPEG = 65533  # bytes with the prefix
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ORIENTATION, _EXIF = 0x0112, 0x8769
_WIDTHS, _HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)  # ImageWidth and PixelXDimension, …
_THUMBNAIL, _THUMBNAIL_LENGTH = 0x0201, 0x0202
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_INCHES = 2
_ENTRY = 12
_HAS_EXIF, _HAS_ALPHA = 0x08, 0x10  # flags of WebP


class _Entry(NamedTuple):
    tag: int
    at: int


class _Block:
    """The bytes behind the prefix; every method raises struct.error if they are damaged."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.order = _ORDERS.get(data[:4], "")
        if not self.order:
            raise struct.error("no EXIF")

    def number(self, at: int, format: str) -> int:
        return int(struct.unpack_from(self.order + format, self.data, at)[0])

    def entries(self, directory: int) -> Iterator[_Entry]:
        for index in range(self.number(directory, "H")):
            at = directory + 2 + index * _ENTRY
            yield _Entry(self.number(at, "H"), at)

    def value(self, at: int) -> int:
        """That of an entry of one SHORT or LONG."""
        return self.number(at + 8, "H" if self.number(at + 2, "H") == _SHORT else "I")

    def set(self, at: int, value: int) -> None:
        """Make the value of an entry one LONG; it lies in the entry itself."""
        struct.pack_into(self.order + "HII", self.data, at + 2, _LONG, 1, value)


def fit_exif(block: bytes, size: Size) -> bytes | None:
    """Change what is not true of an upright copy of another size, and take the thumbnail out; all else stays.

    Args:
        block: With or without the prefix.
        size: Height and width of the copy.

    Returns:
        The block without the prefix; None if it is damaged.
    """
    try:
        parsed = _Block(block.removeprefix(PREFIX))
        main = parsed.number(4, "I")
        _fit_directory(parsed, main, size)
        for tag, at in parsed.entries(main):
            if tag == _EXIF:
                _fit_directory(parsed, parsed.value(at), size)
        _cut_thumbnail(parsed, main + 2 + _ENTRY * parsed.number(main, "H"))
    except struct.error:
        return None
    return bytes(parsed.data)


def _fit_directory(block: _Block, directory: int, size: Size) -> None:
    for tag, at in block.entries(directory):
        if tag == _ORIENTATION:
            struct.pack_into(block.order + "HIHH", block.data, at + 2, _SHORT, 1, 1, 0)
        elif tag in _HEIGHTS:
            block.set(at, size[0])
        elif tag in _WIDTHS:
            block.set(at, size[1])


def _cut_thumbnail(block: _Block, link: int) -> None:
    """Cut the link to the second directory, and what it describes."""
    if directory := block.number(link, "I"):
        found = {tag: block.value(at) for tag, at in block.entries(directory) if tag in (_THUMBNAIL, _THUMBNAIL_LENGTH)}
        start, length = found.get(_THUMBNAIL, 0), found.get(_THUMBNAIL_LENGTH, 0)
        if start and start + length <= len(block.data):
            block.data[start : start + length] = bytes(length)
        if start and start + length >= len(block.data):
            del block.data[start:]
        struct.pack_into(block.order + "I", block.data, link, 0)


def resolution_exif(resolution: tuple[float, float]) -> bytes:
    """A block without the prefix that says nothing but the pixels per millimetre across and down."""
    entries = struct.pack("<HHII", 0x011A, _RATIONAL, 1, 50) + struct.pack("<HHII", 0x011B, _RATIONAL, 1, 58)
    entries += struct.pack("<HHII", 0x0128, _SHORT, 1, _INCHES)
    values = struct.pack("<4I", *(part for each in resolution for part in (round(each * 25400), 1000)))
    return b"II*\0" + struct.pack("<IH", 8, 3) + entries + bytes(4) + values


def add_jpeg_exif(file: BinaryIO, block: bytes) -> None:
    """Put a block without the prefix into a finished JPEG file, which is open for reading and writing."""
    insert_first(file, segment(0xE1, PREFIX + block))


def add_webp_exif(file: BinaryIO, block: bytes, size: Size) -> None:
    """Put a block without the prefix into a finished WebP file (RFC 9649, 2.7), open for reading and writing.

    It becomes one with an extended header, if it has none.
    """
    file.seek(0)
    data = file.read(30)
    if data[12:16] == b"VP8X":
        file.seek(20)
        file.write(bytes((data[20] | _HAS_EXIF,)))
    else:
        has_alpha = data[12:16] == b"VP8L" and data[24] >> 4 & 1
        flags = _HAS_EXIF | (_HAS_ALPHA if has_alpha else 0)
        sides = (size[1] - 1).to_bytes(3, "little") + (size[0] - 1).to_bytes(3, "little")
        file.seek(12)
        rest = file.read()
        file.seek(12)
        file.write(b"VP8X" + struct.pack("<IB3x", 10, flags) + sides + rest)
    file.seek(0, 2)
    file.write(b"EXIF" + struct.pack("<I", len(block)) + block + bytes(len(block) % 2))
    length = file.tell() - 8
    file.seek(4)
    file.write(struct.pack("<I", length))
