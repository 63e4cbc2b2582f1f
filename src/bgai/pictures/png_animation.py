"""Animated PNG (PNG, third edition, 5.7, 11.3.6 and 13): libvips knows its first picture alone.

Each frame is a part of the picture. Its chunks, with a header of its own before them, are a PNG that libvips decodes;
and of frames that libvips encoded, the chunks are put into one file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import numpy as np
import pyvips

from bgai.pictures.animation import Animation, Disposal, Part, compose
from bgai.pictures.png_chunks import SIGNATURE, change_chunks, heads, pack_chunk
from bgai.types import Pixels, Size

_CONTROL = struct.Struct(">IIIIHHBB")
_MOST_OF_TIME = 65535  # numerator and denominator of seconds
_DISPOSALS: tuple[Disposal, ...] = ("keep", "clear", "restore")
_OVER = 1
_SHARED = (b"PLTE", b"tRNS")
_END = 12  # bytes of the last chunk, IEND


class PngAnimation:
    """The frames of an animated PNG.

    Args:
        file: Open for reading, for as long as frames are read.

    Raises:
        ValueError: It is damaged.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._header, self._shared = file, b"", b""
        self._parts: list[Part] = []
        self._places: list[list[tuple[int, int]]] = []  # of each frame's pixels in the file: start and length
        self._plays = 0
        self._parse()
        if not self._parts or not all(self._places):
            raise ValueError("a frame has no pixels")

    @property
    def animation(self) -> Animation:
        """Times of the frames."""
        return Animation(tuple(part.delay for part in self._parts), self._plays)

    @property
    def _size(self) -> Size:
        width, height = struct.unpack(">II", self._header[:8])
        return height, width

    def _parse(self) -> None:
        count, sequence = 0, 0
        for kind, length in heads(self._file):
            if kind == b"IHDR":
                self._header = self._data(kind, length)
            elif kind == b"acTL":
                count, self._plays = struct.unpack(">II", self._data(kind, length)[:8].ljust(8, b"\0"))
            elif kind in _SHARED and not any(self._places):
                self._shared += pack_chunk(kind, self._data(kind, length))
            elif kind in (b"fcTL", b"fdAT"):
                start = self._file.tell()
                data = self._data(kind, length)
                if data[:4] != sequence.to_bytes(4, "big"):
                    raise ValueError("a frame is missing")
                sequence += 1
                if kind == b"fcTL":
                    self._parts.append(self._part(data[4:]))
                    self._places.append([])
                elif self._places:
                    self._places[-1].append((start + 4, length - 4))
            elif kind == b"IDAT" and self._places:  # without fcTL before them, these pixels are no frame
                self._places[0].append((self._file.tell(), length))
                self._data(kind, length)
        if len(self._parts) != count:
            raise ValueError(f"{len(self._parts)} of {count} frames are there")

    def _data(self, kind: bytes, length: int) -> bytes:
        """Those of a chunk, whose checksum is looked at: nothing after this does."""
        data, checksum = self._file.read(length), self._file.read(4)
        if len(data) < length or zlib.crc32(kind + data).to_bytes(4, "big") != checksum:
            raise ValueError("a checksum in it is wrong")
        return data

    def _part(self, data: bytes) -> Part:
        try:
            width, height, left, top, numerator, denominator, disposal, blending = _CONTROL.unpack(data)
            delay = 1000 * numerator / (denominator or 100)
            part = Part(left, top, width, height, delay, _DISPOSALS[disposal], blending == _OVER)
        except (struct.error, IndexError) as error:
            raise ValueError("a frame's header is none") from error
        if not part.is_within(self._size):
            raise ValueError("a frame lies beside the picture")
        return part

    def frames(self) -> Iterator[Pixels]:
        """Each frame as it is to be seen, H x W or H x W x channels; valid until the next one is asked for.

        Raises:
            pyvips.Error: It is damaged.
        """
        channels = self._decode(0).shape[2]
        is_empty_somewhere = channels in (1, 3) and not self._always_covered()
        yield from compose(self._parts, self._decode, self._size, channels + is_empty_somewhere)

    def _always_covered(self) -> bool:
        """Whether no part of the picture is ever empty."""
        first = self._parts[0]
        whole = (first.height, first.width) == self._size and first.disposal == "keep"
        return whole and all(part.disposal != "clear" for part in self._parts)

    def _decode(self, index: int) -> Pixels:
        """h x w x channels."""
        part, compressed = self._parts[index], []
        for start, length in self._places[index]:
            self._file.seek(start)
            compressed.append(self._file.read(length))
        header = struct.pack(">II", part.width, part.height) + self._header[8:]
        data = SIGNATURE + pack_chunk(b"IHDR", header) + self._shared
        data += pack_chunk(b"IDAT", b"".join(compressed)) + pack_chunk(b"IEND", b"")
        image = pyvips.Image.pngload_buffer(data, fail_on="error", access="sequential")
        samples = pyvips.Region.new(image).fetch(0, 0, image.width, image.height)
        dtype = np.uint16 if image.format == "ushort" else np.uint8
        pixels: Pixels = np.frombuffer(samples, dtype).reshape(image.height, image.width, image.bands)
        return pixels


class PngFrames:
    """Puts further frames into a finished PNG file, whose picture becomes the first one.

    Args:
        file: Open for reading and writing.
        animation: Times of the frames.
        count: How many of them there will be.
        size: Width and height of the picture.
    """

    def __init__(self, file: BinaryIO, animation: Animation, count: int, size: tuple[int, int]) -> None:
        self._file, self._delays = file, animation.delays
        self._done = self._sequence = 0
        control = self._control(*size, 0, 0)
        change_chunks(file, [(b"acTL", struct.pack(">II", count, animation.plays)), (b"fcTL", control)], ())

    def add(self, png: bytes, left: int, top: int) -> None:
        """Append a PNG of the same kind of pixels, which replaces what lies at its place."""
        self._file.seek(-_END, 2)
        end = self._file.read(_END)
        width, height = struct.unpack(">II", png[16:24])
        self._file.seek(-_END, 2)
        self._file.write(pack_chunk(b"fcTL", self._control(width, height, left, top)))
        self._file.write(pack_chunk(b"fdAT", self._number() + _pixels(png)))
        self._file.write(end)

    def _control(self, width: int, height: int, left: int, top: int) -> bytes:
        """What precedes a frame."""
        seconds = Fraction(self._delays[self._done] / 1000).limit_denominator(_MOST_OF_TIME)
        self._done += 1
        numerator, denominator = min(seconds.numerator, _MOST_OF_TIME), seconds.denominator
        return self._number() + _CONTROL.pack(width, height, left, top, numerator, denominator, 0, 0)

    def _number(self) -> bytes:
        self._sequence += 1
        return (self._sequence - 1).to_bytes(4, "big")


def changed_part(before: Pixels, after: Pixels) -> tuple[int, int, int, int]:
    """Left, top, width and height of the least rectangle outside of which two frames are equal; of one pixel if all is.

    Examples:
        >>> before = np.zeros((4, 5), np.uint8)
        >>> after = before.copy()
        >>> after[1:3, 4] = 1
        >>> changed_part(before, after)
        (4, 1, 1, 2)
    """
    differs = before != after
    if differs.ndim == 3:
        differs = differs.any(axis=2)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return 0, 0, 1, 1
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top


def _pixels(png: bytes) -> bytes:
    """The compressed pixels of a PNG."""
    parts, at = [], len(SIGNATURE)
    while at + 8 <= len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] == b"IDAT":
            parts.append(png[at + 8 : at + 8 + length])
        at += length + 12
    return b"".join(parts)
