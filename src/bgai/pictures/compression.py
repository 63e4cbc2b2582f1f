"""How strongly a picture file was compressed, from its headers alone.

Sources: ITU-T T.81 (JPEG), Annex B and K.1; RFC 9649 (WebP); RFC 6386 (VP8), 7.3, 9.2 to 9.6 and 19.2; TIFF 6.0;
ISO/IEC 23008-12 (AVIF's container).
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from bgai.pictures.tiff_exif import read_tags

PLAIN_FROM = 95
"""Quality of JPEG and WebP from which `bgai` weights do better than `photo`, by benchmarks/crossing.py at all scales:
93 to 96 with colours of full size; up to 99 with halved ones, but by 0.25 dB at most from 95 on."""
PLAIN_FROM_BITS = 2.0
"""The same for AVIF, in bits a pixel."""

# The luma table of ITU-T T.81, K.1, which encoders scale by their quality.
# fmt: off
LUMA_TABLE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)
# fmt: on
_DQT, _SOS, _EOI = 0xDB, 0xDA, 0xD9
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_STANDALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
_MOST_SEGMENTS = 4096  # those of depth maps and long profiles are many
_MOST_OF_SEGMENT = 1024  # more than four tables, or the components of a frame, take
_MOST_GARBAGE = 2**16
_MOST_CHUNKS = 64
_FRAME = 24  # bytes before the chunks of a frame of an animated WebP
_FRAME_HEADER = 128  # more than all of VP8's that comes before the quantiser takes
_MOST_OF_BOXES = 2**16
_COMPRESSION, _JPEG_TABLES = 259, 347  # tags of TIFF
_TIFF_JPEG = 7
_TIFF_LOSSLESS = {1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000}


@dataclass(frozen=True, slots=True)
class Compression:
    """What a file's headers tell; in words, it is `JPEG of quality about 60`."""

    format: str
    lossless: bool = False
    quality: int | None = None
    """1 to 100, as libjpeg's or libwebp's encoder would have been told; None if it cannot be made out."""
    bits: float | None = None
    """Bits a pixel of AVIF, whose quality lies deeper than its headers."""

    @property
    def strong(self) -> bool:
        """Whether it left traces worth removing; so it is taken to have where nothing is known."""
        if self.lossless:
            return False
        if self.bits is not None:
            return self.bits < PLAIN_FROM_BITS
        return self.quality is None or self.quality < PLAIN_FROM

    def __str__(self) -> str:
        if self.lossless:
            return f"lossless {self.format}"
        if self.bits is not None:
            return f"{self.format} of {self.bits:.1f} bits a pixel"
        return f"{self.format} of " + (f"quality about {self.quality}" if self.quality else "unknown quality")


def read_compression(stream: BinaryIO) -> Compression:
    """Tell how strongly a picture file was compressed; damage is no error, but makes its quality unknown.

    Args:
        stream: The file, at its start.

    Raises:
        OSError: The file cannot be read.
    """
    head = stream.read(12)
    stream.seek(0)
    if head.startswith(b"\xff\xd8\xff"):
        return Compression("JPEG", quality=_jpeg_quality(stream))
    if head.startswith(b"\x89PNG"):
        return Compression("PNG", lossless=True)
    if head.startswith(b"RIFF") and head.endswith(b"WEBP"):
        return _webp(stream)
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return _tiff(stream)
    if head.startswith((b"GIF8", b"BM")):
        return Compression("GIF" if head.startswith(b"G") else "BMP", lossless=True)
    if head[4:8] == b"ftyp":
        return Compression("HEIC" if head[8:11] in (b"hei", b"hev") else "AVIF", bits=_bits_per_pixel(stream))
    return Compression("JPEG XL" if head.startswith((b"\xff\n", b"\0\0\0\x0cJXL ")) else "picture")


def _jpeg_quality(stream: BinaryIO) -> int | None:
    """Of the tables before the first scan; a thumbnail's lie within an APP segment, which is passed over."""
    tables: dict[int, tuple[int, ...]] = {}
    luma = 0  # number of the first component's table
    with suppress(ValueError):
        for marker, body in _segments(stream):
            if marker == _DQT:
                tables.update(_tables(body))
            elif len(body) > 8:
                luma = body[8]
        return _quality(tables[luma]) if luma in tables else None
    return None


def _segments(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Markers and bodies of tables and frames (T.81, B.1.1.4), up to the first scan or the end.

    Raises:
        ValueError: The file ends before, or is no JPEG for too long.
    """
    garbage = 0
    for _ in range(_MOST_SEGMENTS):
        while _exactly(stream, 1) != b"\xff":  # decoders pass over what is not a marker
            if (garbage := garbage + 1) > _MOST_GARBAGE:
                raise ValueError("no marker")
        while (marker := _exactly(stream, 1)[0]) == 0xFF:
            if (garbage := garbage + 1) > _MOST_GARBAGE:
                raise ValueError("no marker")
        if marker in (_SOS, _EOI):
            return
        if marker == 0 or marker in _STANDALONE:
            continue
        length = int.from_bytes(_exactly(stream, 2), "big") - 2
        if length < 0:
            raise ValueError("no length")
        read = min(length, _MOST_OF_SEGMENT) if marker == _DQT or marker in _FRAMES else 0
        if read:
            yield marker, _exactly(stream, read)
        stream.seek(length - read, io.SEEK_CUR)
    raise ValueError("too many segments")


def _tables(body: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Number and 64 steps of each table in a segment (T.81, B.2.4.1)."""
    while body:
        size = 2 if body[0] >> 4 else 1
        steps = body[1 : 1 + 64 * size]
        if len(steps) < 64 * size:
            raise ValueError("a table that is cut short")
        yield body[0] & 15, tuple(int.from_bytes(steps[at : at + size], "big") for at in range(0, len(steps), size))
        body = body[1 + 64 * size :]


def _quality(table: Sequence[int]) -> int | None:
    """The quality whose table has the same steps on geometric average: exact for libjpeg's, and fair to all others."""
    if min(table) == 0:
        return None
    coarseness = _coarseness(table)
    return min(_libjpeg_coarseness(), key=lambda quality: abs(_libjpeg_coarseness()[quality] - coarseness))


@functools.cache
def _libjpeg_coarseness() -> dict[int, float]:
    """By quality, of the tables that libjpeg's `jpeg_set_quality` makes."""
    found = {}
    for quality in range(1, 101):
        percent = 5000 // quality if quality < 50 else 200 - 2 * quality
        found[quality] = _coarseness([max(1, (step * percent + 50) // 100) for step in LUMA_TABLE])
    return found


def _coarseness(table: Sequence[int]) -> float:
    return math.fsum(math.log(min(step, 255)) for step in table)


def _webp(stream: BinaryIO) -> Compression:
    for name, size in _chunks(stream):
        if name == b"VP8L":
            return Compression("WebP", lossless=True)
        if name == b"VP8 ":
            with suppress(ValueError):
                return Compression("WebP", quality=_vp8_quality(stream.read(min(size, _FRAME_HEADER))))
            break
    return Compression("WebP")


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Name and size of each chunk of a RIFF file and in its frames, with the stream at its content."""
    start = 12
    for _ in range(_MOST_CHUNKS):
        stream.seek(start)
        head = stream.read(8)
        if len(head) < 8:
            return
        size = int.from_bytes(head[4:], "little")
        yield head[:4], size
        start += _FRAME if head[:4] == b"ANMF" else 8 + size + size % 2


def _vp8_quality(frame: bytes) -> int:
    """The quality that makes libwebp choose the quantiser of a key frame (RFC 6386, 9.1 and 9.6).

    Raises:
        ValueError: It is none.
    """
    if len(frame) < 12 or frame[0] & 1 or frame[3:6] != b"\x9d\x01\x2a":
        raise ValueError("no key frame")
    bits = _BoolDecoder(frame[10:])
    bits.number(2)  # colour space, clamping
    base: int | None = None
    if bits.number(1):  # segments
        base = _segment_quantiser(bits)
    bits.number(1 + 6 + 3)  # loop filter
    if bits.number(1) and bits.number(1):  # its adjustments
        for _ in range(8):
            bits.optional(6)
    bits.number(2)  # partitions
    index = bits.number(7)
    linear = (1 - (index if base is None else base) / 127) ** 3
    return max(1, round(100 * (linear * 3 / 2 if linear < 0.5 else (linear + 1) / 2)))


def _segment_quantiser(bits: _BoolDecoder) -> int | None:
    """The mean of the segments', if they have their own."""
    update_map, update_data = bits.number(1), bits.number(1)
    found = None
    if update_data:
        absolute = bits.number(1)
        quantisers = [bits.optional(7) for _ in range(4)]
        for _ in range(4):
            bits.optional(6)
        if absolute:
            found = round(sum(quantisers) / 4)
    if update_map:
        for _ in range(3):
            if bits.number(1):
                bits.number(8)
    return found


class _BoolDecoder:
    """Reads bits of even odds (RFC 6386, 7.3); ValueError beyond the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._unread = 8 * len(data)
        self._range = 255

    def number(self, bits: int) -> int:
        value = 0
        for _ in range(bits):
            value = 2 * value + self._bit()
        return value

    def optional(self, bits: int) -> int:
        """A flag, and if it is set a number and its sign."""
        if not self.number(1):
            return 0
        value = self.number(bits)
        return -value if self.number(1) else value

    def _bit(self) -> int:
        split = 1 + ((self._range - 1) * 128 >> 8)
        shift = self._unread - 8
        if shift < 0:
            raise ValueError("cut short")
        bit = int(self._value >= split << shift)
        if bit:
            self._value -= split << shift
            self._range -= split
        else:
            self._range = split
        while self._range < 128:
            self._range *= 2
            self._unread -= 1
        return bit


def _tiff(stream: BinaryIO) -> Compression:
    try:
        tags = read_tags(stream, (_COMPRESSION, _JPEG_TABLES))
    except ValueError:
        return Compression("TIFF")
    kind = int.from_bytes(tags.get(_COMPRESSION, b"\1"), "little")
    if kind in _TIFF_LOSSLESS:
        return Compression("TIFF", lossless=True)
    if kind == _TIFF_JPEG:
        return Compression("JPEG TIFF", quality=_jpeg_quality(io.BytesIO(tags.get(_JPEG_TABLES, b""))))
    return Compression("lossy TIFF")


def _bits_per_pixel(stream: BinaryIO) -> float | None:
    """Of what follows the headers, by the largest size (`ispe`) in them: tiles and thumbnails have smaller ones."""
    boxes = stream.read(_MOST_OF_BOXES)
    sizes = []
    at = boxes.find(b"ispe")
    while 0 <= at <= len(boxes) - 16:
        sizes.append(int.from_bytes(boxes[at + 8 : at + 12], "big") * int.from_bytes(boxes[at + 12 : at + 16], "big"))
        at = boxes.find(b"ispe", at + 4)
    pixels = max(sizes, default=0)
    data = stream.seek(0, io.SEEK_END) - max(0, boxes.find(b"mdat"))
    return 8 * data / pixels if pixels else None


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ValueError("the file ends")
    return data
