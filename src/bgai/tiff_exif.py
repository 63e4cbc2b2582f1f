"""EXIF in TIFF files, which libvips neither reads nor writes.

Other formats hold EXIF as a block, which is a small TIFF in itself (Exif 2.32, section 4.5): directories (IFDs) of
tagged fields, some of which point to further directories. In a TIFF file the same directories hang from the picture's
own, so both ways are: read the directories, and lay them out anew, as their offsets count from the start of the file.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Container
from pathlib import Path
from typing import BinaryIO

_PREFIX = b"Exif\0\0"
_LONGEST_BLOCK = 65533  # in a JPEG file, whose segments give their own length, of two bytes, in two bytes
_MOST_READ = 4 * _LONGEST_BLOCK  # bytes per file: far more than a block holds, and soon read

# ImageDescription, Make, Model, Software, DateTime, Artist, Copyright. Not Orientation: pictures are turned upright.
_DESCRIPTIVE = (270, 271, 272, 305, 306, 315, 33432)
_WIDTH, _LENGTH, _PIXEL_X, _PIXEL_Y = 256, 257, 0xA002, 0xA003
_EXIF_IFD, _GPS_IFD, _INTEROPERABILITY_IFD, _MAKER_NOTE = 0x8769, 0x8825, 0xA005, 0x927C
_Tree = dict[int, "_Tree"]
_SUB_IFDS: _Tree = {_EXIF_IFD: {_INTEROPERABILITY_IFD: {}}, _GPS_IFD: {}}
_POINTERS = (330, _EXIF_IFD, _GPS_IFD, _INTEROPERABILITY_IFD)  # 330: SubIFDs

_ASCII, _LONG, _LONG8 = 2, 4, 16
# Bytes of one value of each type of TIFF 6.0, section 2, and bytes of the numbers in it: a rational has two.
_TYPES = {1: (1, 1), 2: (1, 1), 3: (2, 2), 4: (4, 4), 5: (8, 4), 6: (1, 1)}
_TYPES |= {7: (1, 1), 8: (2, 2), 9: (4, 4), 10: (8, 4), 11: (4, 4), 12: (8, 8)}
_POINTER_CODES = {_LONG: "I", 13: "I", _LONG8: "Q", 18: "Q"}  # 13 and 18: IFD and IFD8

_Field = tuple[int, bytes]  # type, and values in little-endian order
_Ifd = dict[int, "_Field | _Ifd"]  # by tag


class _Layout:
    """Byte order and widths: TIFF 6.0, section 2, or BigTIFF (libtiff.gitlab.io/libtiff/specification/bigtiff.html)."""

    def __init__(self, order: str, big: bool) -> None:
        self.order = order
        self.count = struct.Struct(order + ("Q" if big else "H"))
        self.entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))  # tag, type, count, values or their offset
        self.offset = struct.Struct(order + ("Q" if big else "I"))
        self.first_at = 8 if big else 4  # where the header says where the first IFD is
        self.pointer_type = _LONG8 if big else _LONG

    def ordered(self, kind: int, values: bytes) -> bytes:
        """Turn values from little-endian to this order, or back."""
        unit = _TYPES[kind][1] if self.order == ">" else 1
        turned = bytearray(values)
        for index in range(unit):
            turned[index::unit] = values[unit - 1 - index :: unit]
        return bytes(turned)


_LAYOUTS = {
    b"II*\0": _Layout("<", big=False),
    b"MM\0*": _Layout(">", big=False),
    b"II+\0\x08\0\0\0": _Layout("<", big=True),
    b"MM\0+\0\x08\0\0": _Layout(">", big=True),
}


class _Tiff:
    """A TIFF file or EXIF block, distrusted: whatever is damaged or no sense in it raises ValueError."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = stream.seek(0, io.SEEK_END)
        self._unread = _MOST_READ
        self._visited = {0}  # no IFD is at the header or has two pointers to it
        head = self._read(0, 8)
        layout = _LAYOUTS.get(head[:4]) or _LAYOUTS.get(head)
        if layout is None:
            raise ValueError("no TIFF")
        self.layout = layout
        (self.first,) = layout.offset.unpack(self._read(layout.first_at, layout.offset.size))

    def _read(self, offset: int, size: int) -> bytes:
        self._unread -= size
        if offset + size > self.size or self._unread < 0:
            raise ValueError("beyond the end, or too much")
        self._stream.seek(offset)
        return self._stream.read(size)

    def entries(self, offset: int) -> tuple[dict[int, bytes], bytes]:
        """The entries of an IFD by tag, as they are, and its link to the next IFD."""
        if offset in self._visited:
            raise ValueError("an IFD that has two pointers to it")
        self._visited.add(offset)
        layout = self.layout
        (count,) = layout.count.unpack(self._read(offset, layout.count.size))
        length = count * layout.entry.size
        table = self._read(offset + layout.count.size, length + layout.offset.size)
        entries = (table[start : start + layout.entry.size] for start in range(0, length, layout.entry.size))
        return {layout.entry.unpack(entry)[0]: entry for entry in entries}, table[length:]

    def field(self, entry: bytes) -> _Field | None:
        """What an entry holds; None if it is empty, of an unknown type or more than a block can hold."""
        _, kind, count, cell = self.layout.entry.unpack(entry)
        size = count * _TYPES.get(kind, (0, 0))[0]
        if size > len(cell):
            (offset,) = self.layout.offset.unpack(cell)
            if offset + size > self.size:
                raise ValueError("values beyond the end")
            cell = self._read(offset, size) if size <= _LONGEST_BLOCK else b""
        return (kind, self.layout.ordered(kind, cell[:size])) if cell[:size] else None

    def pointer(self, entry: bytes) -> int:
        _, kind, count, cell = self.layout.entry.unpack(entry)
        code = struct.Struct(self.layout.order + _POINTER_CODES.get(kind, "Q"))
        if kind not in _POINTER_CODES or count != 1 or code.size > len(cell):
            raise ValueError("no pointer")
        return int(code.unpack(cell[: code.size])[0])

    def ifd(self, offset: int, wanted: Container[int], sub_ifds: _Tree) -> _Ifd:
        """Read the wanted fields of an IFD and all of its sub-IFDs, but for empty ones."""
        found: _Ifd = {}
        for tag, entry in self.entries(offset)[0].items():
            value: _Field | _Ifd | None = None
            if tag in sub_ifds:
                value = self.ifd(self.pointer(entry), range(1 << 16), sub_ifds[tag])
            elif tag in wanted and tag not in _POINTERS:
                value = self.field(entry)
            if value:
                found[tag] = value
        return found

    def exif(self) -> _Ifd:
        found = self.ifd(self.first, _DESCRIPTIVE, _SUB_IFDS)
        return {tag: value for tag, value in found.items() if isinstance(value, dict) or value[0] == _ASCII}


def _pack_value(value: _Field | _Ifd, layout: _Layout, where: int) -> tuple[int, int, bytes, bytes]:
    """Type, count, values or their offset, and what has to be put at that offset, `where`."""
    if isinstance(value, dict):
        return layout.pointer_type, 1, layout.offset.pack(where), _pack(value, layout, where)
    kind, values = value
    count, values = len(values) // _TYPES[kind][0], layout.ordered(*value)
    if len(values) <= layout.offset.size:
        return kind, count, values, b""
    return kind, count, layout.offset.pack(where), values + bytes(len(values) % 2)  # offsets are even: TIFF 6.0


def _pack(ifd: _Ifd, layout: _Layout, start: int, kept: dict[int, bytes] | None = None, link: bytes = b"") -> bytes:
    """Lay out an IFD for offset `start`, with values and sub-IFDs behind it, `kept` entries and a link to the next."""
    entries, behind = dict(kept or {}), b""
    end = start + layout.count.size + layout.entry.size * (len(entries) + len(ifd)) + layout.offset.size
    for tag, value in ifd.items():
        *entry, values = _pack_value(value, layout, end + len(behind))
        entries[tag] = layout.entry.pack(tag, *entry)
        behind += values
    table = b"".join(entry for _, entry in sorted(entries.items()))
    return layout.count.pack(len(entries)) + table + (link or bytes(layout.offset.size)) + behind


def _shortened(ifd: _Ifd, longest: int) -> _Ifd:
    """Leave out the maker's note, which seldom survives a move, and fields of more than `longest` bytes."""
    short: _Ifd = {}
    for tag, value in ifd.items():
        if isinstance(value, dict):
            value = _shortened(value, longest)
        elif tag == _MAKER_NOTE or len(value[1]) > longest:
            continue
        if value:
            short[tag] = value
    return short


def _resize(exif: _Ifd, tiff: _Tiff, entries: dict[int, bytes]) -> None:
    """Make PixelXDimension and PixelYDimension, where they are given, what the TIFF file says of itself."""
    details = exif.get(_EXIF_IFD)
    for tag, own in ((_PIXEL_X, _WIDTH), (_PIXEL_Y, _LENGTH)):
        size = tiff.field(entries.get(own, bytes(tiff.layout.entry.size)))
        if size is None:
            raise ValueError("no width or length")
        if isinstance(details, dict) and tag in details:
            details[tag] = (_LONG, size[1].ljust(4, b"\0"))


def read_tiff_exif(path: Path) -> bytes | None:
    r"""Collect what a TIFF file says of its picture as an EXIF block for JPEG, PNG or WebP.

    Taken are the descriptive tags of the first IFD, the Exif IFD with its interoperability IFD, and the GPS IFD
    (Exif 2.32, section 4.6).

    Returns:
        b"Exif\0\0" and a little-endian TIFF, at most 65533 bytes: the maker's note, and then other long fields, are
        left out if there is no room. None if the file has none of this, is no TIFF or is damaged there.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        try:
            exif = _Tiff(stream).exif()
        except ValueError:
            return None
    header, longest = b"II*\0\x08\0\0\0", _LONGEST_BLOCK
    while len(block := _PREFIX + header + _pack(exif, _LAYOUTS[header[:4]], len(header))) > _LONGEST_BLOCK:
        exif, longest = _shortened(exif, longest), longest // 2
    return block if exif else None


def add_tiff_exif(path: Path, exif: bytes) -> None:
    r"""Put the fields of an EXIF block, with or without b"Exif\0\0" before it, into a finished TIFF file.

    The new IFDs are appended, so no other offset in the file changes. Tags that the file has already, and everything
    if the block is malformed or the file would outgrow the offsets of a classic TIFF, stay as they are.

    Raises:
        OSError: The file cannot be read or written.
    """
    with path.open("r+b") as stream:
        try:
            added = _Tiff(io.BytesIO(exif.removeprefix(_PREFIX))).exif()
            tiff = _Tiff(stream)
            kept, link = tiff.entries(tiff.first)
            _resize(added, tiff, kept)
            added = {tag: value for tag, value in added.items() if tag not in kept}
            start = tiff.size + tiff.size % 2
            packed = _pack(added, tiff.layout, start, kept, link)
            first = tiff.layout.offset.pack(start)
        except (ValueError, struct.error):  # the latter: an offset of more than 32 bits
            return
        if added:
            stream.seek(start)
            stream.write(packed)
            stream.seek(tiff.layout.first_at)  # last, so that the file is whole until then
            stream.write(first)
