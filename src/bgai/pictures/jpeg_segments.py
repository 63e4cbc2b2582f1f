"""Segments of JPEG files (ITU-T T.81, B.1.1.4), and the comments in them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from bgai.pictures.png_chunks import replace_start

_START_OF_SCAN, _COMMENT, _JFIF = 0xDA, 0xFE, 0xE0
_FIRST = (0xE0, 0xE1)  # JFIF's header, EXIF and XMP, before which some readers expect nothing else
_MOST_OF_HEADERS = 2**20


def segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and bytes of each segment before the first scan, as far as they are whole."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF and jpeg[at + 1] != _START_OF_SCAN:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if end > len(jpeg):
            return
        yield jpeg[at + 1], jpeg[at:end]
        at = end


def segment(marker: int, body: bytes) -> bytes:
    """One of at most 65533 bytes."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def comments(jpeg: bytes) -> tuple[bytes, ...]:
    """The comments before the first scan."""
    return tuple(part[4:] for marker, part in segments(jpeg) if marker == _COMMENT)


def add_comments(file: BinaryIO, texts: Sequence[bytes]) -> None:
    """Put comments into a finished JPEG file, which is open for reading and writing."""
    insert(file, b"".join(segment(_COMMENT, text) for text in texts))


def insert_place(file: BinaryIO) -> int:
    """Where `insert` puts segments."""
    file.seek(0)
    at = 2
    for marker, part in segments(file.read(_MOST_OF_HEADERS)):
        if marker not in _FIRST:
            break
        at += len(part)
    return at


def insert(file: BinaryIO, packed: bytes) -> None:
    """Put segments behind those that come first in a finished JPEG file, which is open for reading and writing."""
    at = insert_place(file)
    file.seek(0)
    replace_start(file, at, file.read(at) + packed)


def insert_first(file: BinaryIO, packed: bytes) -> None:
    """Put segments behind JFIF's header, which comes first, in a finished JPEG file, open for reading and writing."""
    file.seek(0)
    head = file.read(_MOST_OF_HEADERS)
    first = next(segments(head), (0, b""))
    at = 2 + (len(first[1]) if first[0] == _JFIF else 0)
    replace_start(file, at, head[:at] + packed)
