"""Chunks of PNG files that libvips drops: texts, and what the numbers of colours mean (PNG, third edition, 11.3)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator, Sequence
from typing import BinaryIO

Chunk = tuple[bytes, bytes]
"""Type and data."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
COLOURS = (b"cICP", b"gAMA", b"cHRM", b"sRGB", b"mDCV", b"cLLI")
XMP_KEYWORD = b"XML:com.adobe.xmp\0"
_NEITHER_TEXT = (XMP_KEYWORD, b"Raw profile type ")  # XMP and others, which are kept in another way
_MOST = 2**24  # bytes of all of them
_BLOCK = 2**20


def read_chunks(file: BinaryIO) -> tuple[Chunk, ...]:
    """The texts and colour chunks of a PNG file, in their order; none of a file of another kind."""
    chunks, left = [], _MOST
    for kind, length in heads(file):
        if kind in (*TEXTS, *COLOURS) and length <= left:
            data = file.read(length)
            left -= length
            if len(data) == length and not data.startswith(_NEITHER_TEXT):
                chunks.append((kind, data))
            file.seek(-len(data), 1)
    return tuple(chunks)


def is_animated(file: BinaryIO) -> bool:
    """Whether an acTL chunk precedes the pixels: the decoder would silently give the first frame alone."""
    for kind, _ in heads(file):
        if kind in (b"acTL", b"IDAT"):
            return kind == b"acTL"
    return False


def has_wrong_checksum(file: BinaryIO) -> bool:
    """Whether a chunk before the pixels differs from its CRC-32; libpng would leave it out and go on."""
    for kind, length in heads(file):
        if kind == b"IDAT":
            break
        checksum = zlib.crc32(kind)
        for start in range(0, length, _BLOCK):
            checksum = zlib.crc32(file.read(min(_BLOCK, length - start)), checksum)
        if checksum != int.from_bytes(file.read(4), "big"):
            return True
    return False


def has_resolution(file: BinaryIO) -> bool:
    """Whether a PNG file says how large its pixels are."""
    return any(kind == b"pHYs" for kind, _ in heads(file))


def heads(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Type and length of each chunk, with the file at its data."""
    file.seek(0)
    if file.read(8) != SIGNATURE:
        return
    while len(head := file.read(8)) == 8:
        start, length = file.tell(), int.from_bytes(head[:4], "big")
        yield head[4:], length
        file.seek(start + length + 4)


def pack_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def change_chunks(file: BinaryIO, added: Sequence[Chunk], removed: Collection[bytes]) -> None:
    """Put chunks into a finished PNG file, behind its header, and take those of some types out that precede its pixels.

    Args:
        file: Open for reading and writing.
        added: In this order.
        removed: Types.
    """
    kept, end = [], 8
    for kind, length in heads(file):
        if kind == b"IDAT":
            break
        if kind not in removed:
            file.seek(-8, 1)
            kept.append(file.read(length + 12))
        end += length + 12
    if not kept:
        return  # no PNG
    packed = [pack_chunk(kind, data) for kind, data in added]
    replace_start(file, end, b"".join((SIGNATURE, kept[0], *packed, *kept[1:])))


def replace_start(file: BinaryIO, length: int, start: bytes) -> None:
    """Put other bytes in place of the first `length` ones of a file, which moves the rest of it."""
    size, shift = file.seek(0, 2), len(start) - length
    blocks = range(length, size, _BLOCK)
    for at in reversed(blocks) if shift > 0 else blocks if shift < 0 else ():
        file.seek(at)
        block = file.read(min(_BLOCK, size - at))
        file.seek(at + shift)
        file.write(block)
    file.truncate(size + shift)
    file.seek(0)
    file.write(start)
