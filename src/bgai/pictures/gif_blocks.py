"""Comments and XMP of GIF files (CompuServe, "Graphics Interchange Format", version 89a), and whether one is whole.

libvips fills a file that ends early with what it has, and neither reads nor writes XMP (XMP part 3, 1.1.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from bgai.pictures.png_chunks import replace_start

_EXTENSION, _IMAGE, _END = 0x21, 0x2C, 0x3B
_COMMENT, _APPLICATION = 0xFE, 0xFF
_XMP = b"\x0bXMP DataXMP"
# Behind the packet, which is no row of sub-blocks: whichever byte is taken for a length leads to the end.
_XMP_END = b"\x01" + bytes(range(0xFF, -1, -1)) + b"\0"
_MOST_OF_COMMENT = 2**16


class _Block(NamedTuple):
    kind: int
    """The label of an extension, or `_IMAGE`."""
    start: int
    """Of what follows the label."""
    end: int


def is_cut_short(data: bytes) -> bool:
    """Whether a GIF file ends within a block; the last byte, which marks the end, may be missing."""
    try:
        for _ in _blocks(data):
            pass
    except IndexError:
        return True
    return False


def read_gif_comments(data: bytes) -> tuple[bytes, ...]:
    """The comments of a GIF file, as far as it is whole."""
    return tuple(_joined(data, block)[:_MOST_OF_COMMENT] for block in _whole_blocks(data) if block.kind == _COMMENT)


def read_gif_xmp(data: bytes) -> bytes | None:
    """The XMP packet of a GIF file; None if it has none."""
    for block in _whole_blocks(data):
        content = data[block.start : block.end]
        if block.kind == _APPLICATION and content.startswith(_XMP) and content.endswith(_XMP_END):
            return content[len(_XMP) : -len(_XMP_END)]
    return None


def add_gif_texts(file: BinaryIO, comments: Sequence[bytes], xmp: bytes | None) -> None:
    """Put comments and XMP into a finished GIF file, before its pictures.

    Args:
        file: Open for reading and writing.
        comments: Each of any length.
        xmp: A packet; None for none.
    """
    parts = [bytes((_EXTENSION, _COMMENT)) + _sub_blocks(comment) for comment in comments if comment]
    if xmp:
        parts.append(bytes((_EXTENSION, _APPLICATION)) + _XMP + xmp + _XMP_END)
    if parts:
        file.seek(0)
        head = file.read(13)
        head += file.read(_screen_end(head) - len(head))
        replace_start(file, len(head), b"GIF89a" + head[6:] + b"".join(parts))


def _screen_end(head: bytes) -> int:
    """Where header, logical screen and global colours end."""
    return 13 + _colours(head[10])


def _colours(flags: int) -> int:
    """Bytes of the colour table that a field of flags announces."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _blocks(data: bytes) -> Iterator[_Block]:
    """All blocks behind the global colours; raises IndexError if the file ends within one."""
    at = _screen_end(data)
    while at < len(data) and data[at] != _END:
        if data[at] == _EXTENSION:
            kind, start = data[at + 1], at + 2
            at = _sub_blocks_end(data, start)
        elif data[at] == _IMAGE:
            kind, start = _IMAGE, at + 1
            at = _sub_blocks_end(data, start + 9 + _colours(data[start + 8]) + 1)
        else:
            return  # what is not known: decoders stop here
        yield _Block(kind, start, at)
    if at > len(data):
        raise IndexError


def _whole_blocks(data: bytes) -> Iterator[_Block]:
    blocks = _blocks(data)
    while True:
        try:
            yield next(blocks)
        except (IndexError, StopIteration):
            return


def _sub_blocks_end(data: bytes, at: int) -> int:
    while length := data[at]:
        at += 1 + length
    return at + 1


def _joined(data: bytes, block: _Block) -> bytes:
    parts, at = [], block.start
    while length := data[at]:
        parts.append(data[at + 1 : at + 1 + length])
        at += 1 + length
    return b"".join(parts)


def _sub_blocks(content: bytes) -> bytes:
    parts = (content[start : start + 255] for start in range(0, len(content), 255))
    return b"".join(bytes((len(part),)) + part for part in parts) + b"\0"
