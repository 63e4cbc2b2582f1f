"""EXIF in TIFF files, which libvips neither reads nor writes.

Other formats hold EXIF as a block, which is a small TIFF in itself (Exif 2.32, section 4.5): directories (IFDs) of
tagged fields, some of which point to further directories. In a TIFF file the same directories hang from the picture's
own. Offsets count from the start of the file, so a copy has to be laid out anew.
"""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Collection, Container, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_PREFIX = b"Exif\0\0"
_LONGEST_BLOCK = 65533  # what a segment of a JPEG file holds
_MOST_READ = 4 * _LONGEST_BLOCK  # bytes of a file: far more than a block holds, and soon read

# ImageDescription, Make, Model, Software, DateTime, Artist, Copyright. Not Orientation: pictures are turned upright.
_DESCRIPTIVE = (270, 271, 272, 305, 306, 315, 33432)
_MAIN, _EXIF, _GPS, _INTEROPERABILITY = 0, 0x8769, 0x8825, 0xA005  # IFDs, by the tag of the pointer to them
_POINTERS = (_EXIF, _GPS, _INTEROPERABILITY)
_MAKER_NOTE = 0x927C
_INTEROPERABILITY_TAGS = (1, 2, 0x1000, 0x1001, 0x1002)
_NEW_SUBFILE_TYPE, _REDUCED_OR_MASK = 254, 0b101
_SUBFILE_TYPE, _OLD_REDUCED = 255, 2
_MOST_PAGES = 10_000
_MOST_OF_DIRECTORIES = 2**26  # bytes of them
_SIZES = ((0xA002, 256), (0xA003, 257))  # PixelXDimension and ImageWidth, PixelYDimension and ImageLength

_IPTC, _UNDEFINED = 33723, 7
_LONG, _LAST_CLASSIC_TYPE, _LONG8 = 4, 12, 16
# Bytes of a value of each type (TIFF 6.0, section 2; BigTIFF), and of the numbers in it: a rational has two.
_TYPES = {1: (1, 1), 2: (1, 1), 3: (2, 2), 4: (4, 4), 5: (8, 4), 6: (1, 1), 7: (1, 1), 8: (2, 2), 9: (4, 4)}
_TYPES |= {10: (8, 4), 11: (4, 4), 12: (8, 8), 13: (4, 4), 16: (8, 8), 17: (8, 8), 18: (8, 8)}

_Fields = dict[int, tuple[int, bytes]]  # type and little-endian values, by tag
_Exif = dict[int, _Fields]  # by IFD


class Layout:
    """Byte order and widths of a classic TIFF (TIFF 6.0, section 2) or a BigTIFF (libtiff's "BigTIFF design")."""

    def __init__(self, order: str, big: bool) -> None:
        self.order = order
        self.count = struct.Struct(order + ("Q" if big else "H"))
        self.entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))  # tag, type, count, values or their offset
        self.offset = struct.Struct(order + ("Q" if big else "I"))
        self.first_at = 8 if big else 4  # where the header says where the first IFD is
        self.pointer_type = _LONG8 if big else _LONG

    def ordered(self, kind: int, values: bytes) -> bytes:
        """Turn values from little-endian to this order, or back."""
        unit = _TYPES[kind][1]
        if self.order == "<" or unit == 1:
            return values
        return b"".join(values[start : start + unit][::-1] for start in range(0, len(values), unit))


_BLOCK_HEADER = b"II*\0"
_EMPTY_BLOCK = b"II*\0\x08\0\0\0" + bytes(6)
_LAYOUTS = {
    _BLOCK_HEADER: Layout("<", big=False),
    b"MM\0*": Layout(">", big=False),
    b"II+\0\x08\0\0\0": Layout("<", big=True),
    b"MM\0+\0\x08\0\0": Layout(">", big=True),
}


def layout_of(head: bytes) -> Layout | None:
    """Byte order and widths of a file that begins with these 8 bytes; None if it is no TIFF."""
    return _LAYOUTS.get(head[:4]) or _LAYOUTS.get(head)


def type_size(kind: int) -> int:
    """Bytes of a value of a type; 0 if it is unknown."""
    return _TYPES.get(kind, (0, 0))[0]


class _Tiff:
    """A TIFF file or EXIF block that may be damaged: then every method raises ValueError."""

    def __init__(self, stream: BinaryIO, most: int = _MOST_READ) -> None:
        self._stream = stream
        self.size = stream.seek(0, io.SEEK_END)
        self._unread = most
        self._visited = {0}  # no IFD lies at the header, or has two pointers to it
        layout = layout_of(self._read(0, 8))
        if layout is None:
            raise ValueError("no TIFF")
        self.layout = layout
        (first,) = layout.offset.unpack(self._read(layout.first_at, layout.offset.size))
        self.main, self.link = self._entries(first)

    def _read(self, offset: int, size: int) -> bytes:
        self._unread -= size
        if offset + size > self.size or self._unread < 0:
            raise ValueError("beyond the end, or too much")
        self._stream.seek(offset)
        return self._stream.read(size)

    def _entries(self, offset: int) -> tuple[dict[int, bytes], bytes]:
        """The entries of an IFD by tag, as they are, and its link to the next IFD."""
        if offset in self._visited:
            raise ValueError("a loop of IFDs")
        self._visited.add(offset)
        layout = self.layout
        (count,) = layout.count.unpack(self._read(offset, layout.count.size))
        length = count * layout.entry.size
        table = self._read(offset + layout.count.size, length + layout.offset.size)
        entries = (table[start : start + layout.entry.size] for start in range(0, length, layout.entry.size))
        return {layout.entry.unpack(entry)[0]: entry for entry in entries}, table[length:]

    def directories(self) -> Iterator[dict[int, bytes]]:
        """The entries of the main IFDs, one after the other."""
        entries, link = self.main, self.link
        yield entries
        while offset := self.layout.offset.unpack(link)[0]:
            entries, link = self._entries(offset)
            yield entries

    def field(self, entry: bytes) -> tuple[int, bytes]:
        """Type and little-endian values; none if the type is unknown or a block could not hold them."""
        _, kind, count, cell = self.layout.entry.unpack(entry)
        size = count * type_size(kind)
        if size > len(cell):
            (offset,) = self.layout.offset.unpack(cell)
            if offset + size > self.size:
                raise ValueError("values beyond the end")
            cell = self._read(offset, size) if size <= _LONGEST_BLOCK else b""
        return kind, self.layout.ordered(kind, cell[:size]) if size else b""

    def _sub_ifd(self, entries: dict[int, bytes], pointer: int) -> dict[int, bytes]:
        if pointer not in entries:
            return {}
        return self._entries(int.from_bytes(self.field(entries[pointer])[1], "little"))[0]

    def _fields(self, entries: dict[int, bytes], wanted: Container[int] = range(1 << 16)) -> _Fields:
        """What a classic TIFF can hold of the wanted tags, without pointers, which are made anew."""
        chosen = (tag for tag in entries if tag in wanted and tag not in _POINTERS)
        fields = {tag: self.field(entries[tag]) for tag in chosen}
        return {tag: field for tag, field in fields.items() if field[1] and field[0] <= _LAST_CLASSIC_TYPE}

    def exif(self) -> _Exif:
        """The fields of each IFD (Exif 2.32, section 4.6)."""
        exif = self._sub_ifd(self.main, _EXIF)
        found = {
            _MAIN: self._fields(self.main, _DESCRIPTIVE),
            _EXIF: self._fields(exif),
            _GPS: self._fields(self._sub_ifd(self.main, _GPS)),
            _INTEROPERABILITY: {},
        }
        # Some editors move the Exif IFD but forget this one, so the pointer may lead anywhere.
        with suppress(ValueError):
            found[_INTEROPERABILITY] = self._fields(self._sub_ifd(exif, _INTEROPERABILITY), _INTEROPERABILITY_TAGS)
        return found


def _pack_ifd(fields: _Fields, layout: Layout, start: int, ready: dict[int, bytes], link: bytes) -> bytes:
    """Lay out an IFD of new fields and ready entries for offset `start`, with the long values behind it."""
    entries, behind = dict(ready), b""
    end = start + layout.count.size + layout.entry.size * (len(ready) + len(fields)) + layout.offset.size
    for tag, (kind, values) in sorted(fields.items()):
        cell = values = layout.ordered(kind, values)
        if len(values) > layout.offset.size:
            cell = layout.offset.pack(end + len(behind))
            behind += values + bytes(len(values) % 2)  # offsets are even (TIFF 6.0, section 2)
        entries[tag] = layout.entry.pack(tag, kind, len(values) // _TYPES[kind][0], cell)
    table = b"".join(entries[tag] for tag in sorted(entries))
    return layout.count.pack(len(entries)) + table + link + behind


def _pack(exif: _Exif, layout: Layout, start: int, ready: dict[int, bytes], link: bytes) -> tuple[bytes, int]:
    """Lay out all IFDs for offset `start`, each before the one that points to it; returns also the last's offset."""
    exif, packed = {tag: dict(fields) for tag, fields in exif.items()}, b""
    for tag, parent in ((_INTEROPERABILITY, _EXIF), (_EXIF, _MAIN), (_GPS, _MAIN)):
        if exif[tag] and tag not in ready:
            pointer = layout.offset.pack(start + len(packed))
            exif[parent][tag] = (layout.pointer_type, layout.ordered(layout.pointer_type, pointer))
            packed += _pack_ifd(exif[tag], layout, start + len(packed), {}, bytes(layout.offset.size))
    main = start + len(packed)
    return packed + _pack_ifd(exif[_MAIN], layout, main, ready, link), main


def _pack_block(exif: _Exif) -> bytes:
    layout = _LAYOUTS[_BLOCK_HEADER]
    packed, first = _pack(exif, layout, 8, {}, bytes(4))
    return _PREFIX + _BLOCK_HEADER + layout.offset.pack(first) + packed


def read_tiff_exif(path: Path) -> bytes | None:
    r"""Collect what a TIFF file says of its picture as an EXIF block for JPEG, PNG or WebP.

    Taken are the descriptive tags of the first IFD, the Exif IFD with its interoperability IFD, and the GPS IFD.

    Returns:
        b"Exif\0\0" and a little-endian TIFF, at most 65533 bytes. A field longer than this is left out, and the
        maker's note also where all would not fit with it. None if the file has nothing of this or still too much, is
        no TIFF, or is damaged there.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        try:
            exif = _Tiff(stream).exif()
        except ValueError:
            return None
    block = _pack_block(exif)
    if len(block) > _LONGEST_BLOCK:
        exif[_EXIF].pop(_MAKER_NOTE, None)
        block = _pack_block(exif)
    return block if any(exif.values()) and len(block) <= _LONGEST_BLOCK else None


def read_tags(stream: BinaryIO, tags: Collection[int], directory: int = 0) -> dict[int, bytes]:
    """Little-endian values of fields of one of a TIFF file's IFDs, by tag; what is not there or very long is left out.

    Raises:
        ValueError: It is no TIFF, or damaged.
    """
    tiff = _Tiff(stream, _MOST_OF_DIRECTORIES)
    entries = next(itertools.islice(tiff.directories(), directory, None), {})
    fields = {tag: tiff.field(entry)[1] for tag, entry in entries.items() if tag in tags}
    return {tag: values for tag, values in fields.items() if values}


def whole_pages(stream: BinaryIO, lenient: bool = False) -> tuple[int, ...]:
    """Numbers of the pages of a TIFF file that are neither a reduced copy nor a mask of another (TIFF 6.0, section 8).

    Where the first directory is damaged, page 0 is the only one.

    Args:
        stream: The file.
        lenient: Whether pages behind damage are left out, instead of being an error.

    Raises:
        ValueError: A later directory is damaged, or there are more than 10,000.
    """
    pages = []
    try:
        tiff = _Tiff(stream, _MOST_OF_DIRECTORIES)
    except ValueError:
        return (0,)
    directories = tiff.directories()
    for page in range(_MOST_PAGES):
        try:
            entries = next(directories, None)
            if entries is None:
                break
            subfile = _number(tiff, entries, _NEW_SUBFILE_TYPE)
            old = _number(tiff, entries, _SUBFILE_TYPE)
        except ValueError as error:
            if lenient:
                break
            raise ValueError(f"of its pages, the directory of number {page + 1} is not whole") from error
        if not subfile & _REDUCED_OR_MASK and old != _OLD_REDUCED:
            pages.append(page)
    else:
        raise ValueError(f"it has more than {_MOST_PAGES} pages")
    return tuple(pages) or (0,)


def _number(tiff: _Tiff, entries: dict[int, bytes], tag: int) -> int:
    return int.from_bytes(tiff.field(entries[tag])[1], "little") if tag in entries else 0


def add_tiff_exif(path: Path, exif: bytes, iptc: bytes = b"") -> None:
    r"""Put EXIF, with or without b"Exif\0\0" before it, and records of IPTC into a finished TIFF file.

    The new IFDs are appended, so nothing else in the file moves. Tags that its first IFD has already stay as they
    are, and so does the whole file if the block is malformed or offsets of 32 bits would not reach so far.

    Raises:
        OSError: The file cannot be read or written.
    """
    with path.open("r+b") as stream:
        try:
            added = _Tiff(io.BytesIO(exif.removeprefix(_PREFIX) or _EMPTY_BLOCK)).exif()
            if iptc:
                added[_MAIN][_IPTC] = (_UNDEFINED, iptc)
            tiff = _Tiff(stream)
            for tag, own in _SIZES:
                if tag in added[_EXIF] and own in tiff.main:
                    added[_EXIF][tag] = (_LONG, tiff.field(tiff.main[own])[1][:4].ljust(4, b"\0"))
            added[_MAIN] = {tag: field for tag, field in added[_MAIN].items() if tag not in tiff.main}
            start = tiff.size + tiff.size % 2
            packed, first = _pack(added, tiff.layout, start, tiff.main, tiff.link)
            header = tiff.layout.offset.pack(first)
        except (ValueError, struct.error):  # the latter: an offset of more than 32 bits
            return
        if any(added.values()):
            stream.seek(start)
            stream.write(packed)
            stream.seek(tiff.layout.first_at)  # last, so that the file is whole until then
            stream.write(header)
