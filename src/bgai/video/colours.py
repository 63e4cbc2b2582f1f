"""Frames of a video to arrays of RGB and back, by the colour tags of the video.

YUV is converted to R'G'B' by the matrix and range that the video says, and back by the same, so that primaries and
transfer stay what they are. Numbers are those of ITU-T H.273.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from bgai.errors import VideoError
from bgai.types import Size

UNSPECIFIED = 2
LIMITED, FULL = 1, 2
_RGB, _BT709, _BT601, _BT601_NTSC = 0, 1, 5, 6
# Matrices of H.273 by what swscale calls them.
_SWSCALE = {_BT709: 1, 4: 4, _BT601: 5, _BT601_NTSC: 5, 7: 7, 9: 9}
_RESERVED = 3
# What has a meaning; damaged files have other numbers too, which some encoders refuse.
_PRIMARIES = {*range(1, 13), 22} - {_RESERVED}
_TRANSFERS = set(range(1, 19)) - {_RESERVED}
_HD: Size = (720, 1280)
# Chroma is interpolated, not repeated.
_EXACT = (
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)


@dataclass(frozen=True, slots=True)
class Colours:
    """What the samples of an enlarged video mean."""

    range: int
    primaries: int
    transfer: int
    matrix: int


def choose_colours(tags: tuple[int, int, int, int], size: Size, format: str) -> Colours:
    """The tags of an enlarged video: those of its source.

    Players guess a matrix that is not named by the height of the video, which changes here: so it is named then, by
    the guess for the source.

    Args:
        tags: Range, primaries, transfer and matrix of the source.
        size: Of the source.
        format: Of its pixels.

    Raises:
        VideoError: The matrix is one of those that cannot be converted.
    """
    range, primaries, transfer, matrix = tags
    primaries = primaries if primaries in _PRIMARIES else UNSPECIFIED
    transfer = transfer if transfer in _TRANSFERS else UNSPECIFIED
    rgb = av.VideoFormat(format).is_rgb
    if rgb or matrix == _RGB:
        return Colours(LIMITED, primaries, transfer, _BT709)
    if matrix in (UNSPECIFIED, _RESERVED):
        matrix = _BT709 if size[0] >= _HD[0] or size[1] >= _HD[1] else _BT601_NTSC
    if matrix not in _SWSCALE:
        raise VideoError(f"its colours have matrix {matrix} of ITU-T H.273, which cannot be converted")
    if format.startswith("yuvj"):
        range = FULL
    return Colours(range or LIMITED, primaries, transfer, matrix)


def is_deep(format: str) -> bool:
    """Whether samples have more than 8 bits."""
    return any(component.bits > 8 for component in av.VideoFormat(format).components)


class Converter:
    """Converts the frames of one video.

    Args:
        source: Of the frames that are read.
        target: Of the frames that are made.
        deep: Whether arrays have 16 bits a sample, instead of 8.
    """

    def __init__(self, source: Colours, target: Colours, deep: bool) -> None:
        self._source, self._target = source, target
        self._rgb = "rgb48le" if deep else "rgb24"
        self._reader, self._writer = VideoReformatter(), VideoReformatter()

    def to_rgb(self, frame: av.VideoFrame) -> NDArray[Any]:
        """H x W x 3, uint8 or uint16.

        Raises:
            VideoError: swscale cannot convert the format.
        """
        if not frame.format.is_rgb:
            frame.colorspace, frame.color_range = self._source.matrix, self._source.range
        try:
            return self._reader.reformat(frame, format=self._rgb, interpolation=_EXACT).to_ndarray()
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(f"pixels of the format {frame.format.name} cannot be converted to RGB: {error}") from error

    def from_rgb(self, pixels: NDArray[Any], format: str) -> av.VideoFrame:
        """A frame of pixels in a format of FFmpeg's; arguments as `to_rgb` returns them."""
        colours = self._target
        frame = av.VideoFrame.from_ndarray(pixels, self._rgb)
        if av.VideoFormat(format).is_rgb:
            return self._writer.reformat(frame, format=format, interpolation=_EXACT)
        frame = self._writer.reformat(
            frame,
            format=format,
            dst_colorspace=_SWSCALE[colours.matrix],
            dst_color_range=colours.range,
            interpolation=_EXACT,
        )
        frame.colorspace, frame.color_range = colours.matrix, colours.range
        frame.color_primaries, frame.color_trc = colours.primaries, colours.transfer
        return frame
