"""Animated PNG (PNG, third edition, 5.7, 11.3.6 and 13): libvips knows its first picture alone.

Each frame is a part of the picture. Its chunks, with a header of its own before them, are a PNG that libvips decodes;
and of frames that libvips encoded, the chunks are put into one file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import BinaryIO

import numpy as np
import pyvips

from bgai.pictures.animation import Animation
from bgai.pictures.png_chunks import SIGNATURE, change_chunks, heads, pack_chunk
from bgai.types import Pixels

_CONTROL = struct.Struct(">IIIIHHBB")
_MOST_OF_TIME = 65535  # numerator and denominator of seconds
_KEEP, _CLEAR, _RESTORE = 0, 1, 2
_OVER = 1
_SHARED = (b"PLTE", b"tRNS")
_END = 12  # bytes of the last chunk, IEND


@dataclass(slots=True)
class _Frame:
    """A part of the picture, and what happens to it."""

    width: int
    height: int
    left: int
    top: int
    delay: float
    """Milliseconds."""
    disposal: int
    blending: int
    parts: list[tuple[int, int]] = field(default_factory=list)
    """Where its compressed pixels lie in the file: start and length."""


class PngAnimation:
    """The frames of an animated PNG.

    Args:
        file: Open for reading, for as long as frames are read.

    Raises:
        ValueError: It is damaged.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._header, self._shared = file, b"", b""
        self._frames: list[_Frame] = []
        self._plays = 0
        self._parse()
        if not self._frames or any(not frame.parts for frame in self._frames):
            raise ValueError("a frame has no pixels")

    @property
    def animation(self) -> Animation:
        """Times of the frames."""
        return Animation(tuple(frame.delay for frame in self._frames), self._plays)

    def _parse(self) -> None:
        count, sequence = 0, 0
        for kind, length in heads(self._file):
            if kind == b"IHDR":
                self._header = self._data(kind, length)
            elif kind == b"acTL":
                count, self._plays = struct.unpack(">II", self._data(kind, length)[:8].ljust(8, b"\0"))
            elif kind in _SHARED and not self._frames_have_parts():
                self._shared += pack_chunk(kind, self._data(kind, length))
            elif kind in (b"fcTL", b"fdAT"):
                start = self._file.tell()
                data = self._data(kind, length)
                if data[:4] != sequence.to_bytes(4, "big"):
                    raise ValueError("a frame is missing")
                sequence += 1
                if kind == b"fcTL":
                    self._frames.append(self._frame(data[4:]))
                elif self._frames:
                    self._frames[-1].parts.append((start + 4, length - 4))
            elif kind == b"IDAT" and self._frames:  # without fcTL before them, these pixels are no frame
                self._frames[0].parts.append((self._file.tell(), length))
                self._data(kind, length)
        if len(self._frames) != count:
            raise ValueError(f"{len(self._frames)} of {count} frames are there")

    def _frames_have_parts(self) -> bool:
        return bool(self._frames and self._frames[0].parts)

    def _data(self, kind: bytes, length: int) -> bytes:
        """Those of a chunk, whose checksum is looked at: nothing after this does."""
        data, checksum = self._file.read(length), self._file.read(4)
        if len(data) < length or zlib.crc32(kind + data).to_bytes(4, "big") != checksum:
            raise ValueError("a checksum in it is wrong")
        return data

    def _frame(self, data: bytes) -> _Frame:
        try:
            width, height, left, top, numerator, denominator, disposal, blending = _CONTROL.unpack(data)
        except struct.error as error:
            raise ValueError("a frame's header has another length") from error
        whole = struct.unpack(">II", self._header[:8])
        if not (width and height and left + width <= whole[0] and top + height <= whole[1]):
            raise ValueError("a frame lies beside the picture")
        delay = 1000 * numerator / (denominator or 100)
        return _Frame(width, height, left, top, delay, disposal, blending)

    def frames(self) -> Iterator[Pixels]:
        """Each frame as it is to be seen, H x W or H x W x channels; valid until the next one is asked for.

        Raises:
            pyvips.Error: It is damaged.
        """
        width, height = struct.unpack(">II", self._header[:8])
        canvas: Pixels | None = None
        for index, frame in enumerate(self._frames):
            pixels = self._decode(frame)
            if canvas is None:
                channels = pixels.shape[2]
                bare = channels in (1, 3) and not self._always_covered((width, height))
                canvas = np.zeros((height, width, channels + bare), pixels.dtype)
            place = canvas[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width]
            disposal = _CLEAR if frame.disposal == _RESTORE and index == 0 else frame.disposal
            before = place.copy() if disposal == _RESTORE else place
            _draw(place, pixels, frame.blending)
            yield canvas[..., 0] if canvas.shape[2] == 1 else canvas
            if disposal == _RESTORE:
                place[:] = before
            elif disposal == _CLEAR:
                place[:] = 0

    def _always_covered(self, size: tuple[int, int]) -> bool:
        """Whether no part of the picture is ever empty."""
        whole = (self._frames[0].width, self._frames[0].height) == size
        return whole and all(frame.disposal != _CLEAR for frame in self._frames) and self._frames[0].disposal == _KEEP

    def _decode(self, frame: _Frame) -> Pixels:
        """h x w x channels."""
        compressed = []
        for start, length in frame.parts:
            self._file.seek(start)
            compressed.append(self._file.read(length))
        header = struct.pack(">II", frame.width, frame.height) + self._header[8:]
        data = SIGNATURE + pack_chunk(b"IHDR", header) + self._shared
        data += pack_chunk(b"IDAT", b"".join(compressed)) + pack_chunk(b"IEND", b"")
        image = pyvips.Image.pngload_buffer(data, fail_on="error", access="sequential")
        samples = pyvips.Region.new(image).fetch(0, 0, image.width, image.height)
        dtype = np.uint16 if image.format == "ushort" else np.uint8
        pixels: Pixels = np.frombuffer(samples, dtype).reshape(image.height, image.width, image.bands)
        return pixels


def _draw(place: Pixels, pixels: Pixels, blending: int) -> None:
    """Put a frame's pixels into its place, which has an alpha channel besides if they do not."""
    most = np.iinfo(pixels.dtype).max
    if pixels.shape[2] < place.shape[2]:
        place[..., :-1], place[..., -1] = pixels, most
        return
    if blending != _OVER or pixels.shape[2] in (1, 3):
        place[:] = pixels
        return
    above, below = pixels[..., -1:] / most, place[..., -1:] / most
    alpha = above + below * (1 - above)
    colours = pixels[..., :-1] * above + place[..., :-1] * (below * (1 - above))
    mixed = np.rint(np.concatenate((colours / np.maximum(alpha, 1e-9), alpha * most), axis=2)).astype(pixels.dtype)
    place[:] = np.where(above == 1, pixels, np.where(above == 0, place, mixed))


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
        return self._number() + _CONTROL.pack(width, height, left, top, numerator, denominator, _KEEP, 0)

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
