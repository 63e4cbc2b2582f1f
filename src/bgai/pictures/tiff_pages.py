"""Further pages of TIFF files: one finished file is put behind another, and its offsets moved (TIFF 6.0, section 2)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import BinaryIO, Literal

from bgai.pictures.tiff_exif import Layout, layout_of, type_size

_EXIF, _GPS, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_DIRECTORIES = (_EXIF, _GPS, _INTEROPERABILITY)
_PLACES_OF_PIXELS = (273, 324)  # StripOffsets, TileOffsets


def append_page(path: Path, page: Path) -> None:
    """Make the only picture of a finished TIFF file a further page of another one.

    Args:
        path: Gets the page.
        page: As libvips writes it, of the same byte order and widths, with or without EXIF.

    Raises:
        OSError: A file cannot be read or written, or the pages are too large for offsets of 32 bits.
    """
    with path.open("rb+") as file, page.open("rb") as source:
        layout = layout_of(source.read(8))
        if layout is None or layout is not layout_of(file.read(8)):
            raise OSError("the pages are TIFF files of different kinds")
        base = file.seek(0, 2)
        base += -base % 16
        file.seek(base)
        source.seek(0)
        shutil.copyfileobj(source, file)
        mover = _Mover(file, layout, base)
        try:
            first = mover.number(base + layout.first_at) + base
            mover.move_directory(first)
            mover.link_last(first)
        except OverflowError as error:
            raise OSError("the pages are too large together for a TIFF") from error


class _Mover:
    """Adds a number to the offsets in a part of a TIFF file."""

    def __init__(self, file: BinaryIO, layout: Layout, base: int) -> None:
        self._file, self._layout, self._base = file, layout, base
        self._order: Literal["little", "big"] = "little" if layout.order == "<" else "big"

    def number(self, at: int) -> int:
        """The offset that lies at a place."""
        self._file.seek(at)
        (value,) = self._layout.offset.unpack(self._file.read(self._layout.offset.size))
        return int(value)

    def _write(self, at: int, value: int, size: int) -> None:
        self._file.seek(at)
        self._file.write(value.to_bytes(size, self._order))

    def move_directory(self, start: int) -> None:
        """Move the offsets in a directory, and in those that it points to."""
        layout = self._layout
        self._file.seek(start)
        (count,) = layout.count.unpack(self._file.read(layout.count.size))
        table = self._file.read(count * layout.entry.size)
        for index in range(count):
            tag, kind, values, cell = layout.entry.unpack_from(table, index * layout.entry.size)
            at = start + layout.count.size + (index + 1) * layout.entry.size - layout.offset.size
            size = type_size(kind)
            if values * size > len(cell):
                place = self.number(at) + self._base
                self._write(at, place, layout.offset.size)
                at = place
            if tag in _PLACES_OF_PIXELS:
                self._move_numbers(at, values, size)
            elif tag in _DIRECTORIES:
                self._move_numbers(at, 1, size)
                self.move_directory(self.number(at))

    def _move_numbers(self, at: int, count: int, size: int) -> None:
        self._file.seek(at)
        packed = self._file.read(count * size)
        numbers = (int.from_bytes(packed[start : start + size], self._order) for start in range(0, len(packed), size))
        moved = b"".join((number + self._base).to_bytes(size, self._order) for number in numbers)
        self._file.seek(at)
        self._file.write(moved)

    def link_last(self, first: int) -> None:
        """Let the last directory that was there point to one more."""
        layout = self._layout
        at = layout.first_at
        while directory := self.number(at):
            self._file.seek(directory)
            (count,) = layout.count.unpack(self._file.read(layout.count.size))
            at = directory + layout.count.size + count * layout.entry.size
        self._write(at, first, layout.offset.size)
