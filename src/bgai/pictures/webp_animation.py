"""Frames of animated WebP (RFC 9649): libvips decodes them all before it gives the first one."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyvips

from bgai.pictures.animation import Animation, Disposal, Part, compose
from bgai.types import Pixels

_ALPHA = 0x10
_NOT_OVER, _CLEAR = 2, 1
_PICTURES = (b"ALPH", b"VP8 ", b"VP8L")
_FRAME_HEADER = 16
_MOST_OF_HEADER = 64


class WebpAnimation:
    """The frames of an animated WebP.

    Args:
        file: Open for reading, for as long as frames are read.

    Raises:
        ValueError: It is damaged, or no animation.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._parts: list[Part] = []
        self._places: list[tuple[int, int]] = []  # of each frame's chunks in the file: start and length
        self._plays, self._size, self._channels = 1, (0, 0), 3
        for kind, length in _chunks(file, 12, _end(file)):
            start, data = file.tell(), file.read(min(length, _MOST_OF_HEADER))
            if kind == b"VP8X":
                self._size = _number(data[7:10]) + 1, _number(data[4:7]) + 1
                self._channels = 4 if data[0] & _ALPHA else 3
            elif kind == b"ANIM":
                self._plays = _number(data[4:6])
            elif kind == b"ANMF":
                self._parts.append(self._part(data))
                if _has_alpha(data[_FRAME_HEADER:]):
                    self._channels = 4
                self._places.append((start + _FRAME_HEADER, length - _FRAME_HEADER))
        if not self._parts:
            raise ValueError("no frames are there")
        is_whole = (self._parts[0].height, self._parts[0].width) == self._size
        if not is_whole or any(part.disposal == "clear" for part in self._parts):
            self._channels = 4  # a part of the picture is empty at times

    @property
    def animation(self) -> Animation:
        """Times of the frames."""
        return Animation(tuple(part.delay for part in self._parts), self._plays)

    def _part(self, data: bytes) -> Part:
        if len(data) < _FRAME_HEADER:
            raise ValueError("a frame's header is none")
        left, top, width, height, delay = (_number(data[start : start + 3]) for start in range(0, 15, 3))
        flags = data[15]
        disposal: Disposal = "clear" if flags & _CLEAR else "keep"
        part = Part(2 * left, 2 * top, width + 1, height + 1, delay, disposal, not flags & _NOT_OVER)
        if not part.is_within(self._size):
            raise ValueError("a frame lies beside the picture")
        return part

    def frames(self) -> Iterator[Pixels]:
        """Each frame as it is to be seen, H x W x 3 or 4; valid until the next one is asked for.

        Raises:
            ValueError: It is damaged.
            pyvips.Error: It is damaged.
        """
        return compose(self._parts, self._decode, self._size, self._channels)

    def _decode(self, index: int) -> Pixels:
        """h x w x 3 or 4."""
        part, (start, length) = self._parts[index], self._places[index]
        chunks = {kind: self._file.read(size) for kind, size in _chunks(self._file, start, start + length)}
        picture = b"".join(_pack(kind, chunks[kind]) for kind in _PICTURES if kind in chunks)
        if b"ALPH" in chunks:
            size = (part.width - 1).to_bytes(3, "little") + (part.height - 1).to_bytes(3, "little")
            picture = _pack(b"VP8X", bytes((_ALPHA, 0, 0, 0)) + size) + picture
        data = b"RIFF" + struct.pack("<I", 4 + len(picture)) + b"WEBP" + picture
        image = pyvips.Image.webpload_buffer(data, fail_on="error", access="sequential")
        if (image.height, image.width) != (part.height, part.width):
            raise ValueError("a frame has another size than its header says")
        samples = pyvips.Region.new(image).fetch(0, 0, image.width, image.height)
        pixels: Pixels = np.frombuffer(samples, np.uint8).reshape(image.height, image.width, image.bands)
        return pixels[..., : self._channels]


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int]]:
    """Name and length of each chunk in a part of a file, with the file at its data.

    Raises:
        ValueError: The part, or the file, ends within one.
    """
    while start + 8 <= end:
        file.seek(start)
        head = file.read(8)
        length = _number(head[4:])
        if len(head) < 8 or start + 8 + length > end:
            raise ValueError("the file ends early")
        yield head[:4], length
        start += 8 + length + length % 2


def _has_alpha(chunk: bytes) -> bool:
    """By the start of a frame's first chunk: not every encoder says so in the file's header."""
    if chunk.startswith(b"VP8L"):
        return bool(_number(chunk[9:13]) >> 28 & 1)
    return chunk.startswith(b"ALPH")


def say_alpha(file: BinaryIO) -> None:
    """Say in the header of an animated WebP that it has alpha; the file is open for reading and writing."""
    file.seek(20)
    flags = file.read(1)[0]
    file.seek(20)
    file.write(bytes((flags | _ALPHA,)))


def _end(file: BinaryIO) -> int:
    """Where the file says that it ends.

    Raises:
        ValueError: It ends earlier.
    """
    file.seek(4)
    end = 8 + _number(file.read(4))
    if file.seek(0, 2) < end - end % 2:
        raise ValueError("the file ends early")
    return end


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _pack(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
