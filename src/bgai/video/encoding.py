"""Which codec writes an enlarged video, in which format of pixels, and at what quality."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.codec.codec import Codec, PixFmtLoss, find_best_pix_fmt_of_list
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from bgai.choices import VideoCodec
from bgai.errors import OutputError, UsageError
from bgai.types import Size
from bgai.video.colours import LIMITED, Colours, is_deep
from bgai.video.source import Scan, reason

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""FFmpeg's name of the container for each ending that an output may have."""
_APPLE = ("mp4", "mov")
_SLOWEST, _FASTEST = 1, 120
_SHAPE_IN_FRAMES = ("h264", "hevc")
os.environ.setdefault("SVT_LOG", "0")  # what SVT-AV1 writes to standard error by itself; failures come back anyway


@dataclass(frozen=True, slots=True)
class _Encoder:
    name: str
    options: Mapping[str, str]
    crf: int | None = None
    """What is taken if nothing else is asked for; None for codecs that have no such quality."""
    worst: int = 0
    even: bool = False
    """Whether sides must be even where colour has half of the resolution."""


# The look-ahead of libx264 and libx265 holds so many whole frames.
_LOOKAHEAD = "20"
_ENCODERS: Mapping[VideoCodec, _Encoder] = {
    "h264": _Encoder("libx264", {"preset": "medium", "rc-lookahead": _LOOKAHEAD}, 18, 51, even=True),
    "hevc": _Encoder(
        "libx265", {"preset": "medium", "x265-params": f"log-level=error:rc-lookahead={_LOOKAHEAD}"}, 20, 51, even=True
    ),
    "av1": _Encoder("libsvtav1", {"preset": "6"}, 24, 63),
    "vp9": _Encoder("libvpx-vp9", {"b": "0", "deadline": "good", "cpu-used": "3", "row-mt": "1"}, 20, 63),
    "ffv1": _Encoder("ffv1", {"level": "3"}),
    "prores": _Encoder("prores_ks", {"profile": "hq"}, even=True),
}


@dataclass(frozen=True, slots=True)
class VideoEncoding:
    """How frames are encoded."""

    codec: VideoCodec
    crf: int | None
    size: Size
    """Of frames, height and width."""
    format: str
    """Of pixels, as FFmpeg names it."""
    rate: Fraction
    """Frames a second, on average."""
    aspect: Fraction | None
    colours: Colours

    def stream_options(self) -> dict[str, str]:
        """Settings of the encoder by FFmpeg's names."""
        quality = {} if self.crf is None else {"crf": str(self.crf)}
        return {**_ENCODERS[self.codec].options, **quality}

    def open(self, global_header: bool) -> VideoCodecContext:
        """An encoder for some frames in a row.

        Args:
            global_header: Whether what is common to all frames is kept apart from them.
        """
        context: VideoCodecContext = Codec(_ENCODERS[self.codec].name, "w").create("video")
        if global_header:
            context.flags |= Flags.global_header
        self._configure(context)
        context.options = self.stream_options()
        context.open()
        return context

    def check(self) -> None:
        """Find out whether there are such frames in this codec.

        Raises:
            OutputError: There are not, for their size for example.
        """
        try:
            self.open(global_header=True)
        except (av.FFmpegError, ValueError) as error:
            raise OutputError(
                f"{self.codec} cannot encode frames of {self.size[1]} x {self.size[0]} ({reason(error)}); choose"
                " another codec or a smaller scale",
                parameter="codec",
            ) from error

    def add_stream(self, container: av.container.OutputContainer) -> VideoStream:
        """The stream of a container for what such encoders give.

        Raises:
            ValueError: The container cannot hold the codec.
        """
        stream: Any = container.add_stream(_ENCODERS[self.codec].name, rate=self.rate, options=self.stream_options())
        video: VideoStream = stream
        self._configure(video.codec_context)
        if self.codec == "hevc" and container.format.name in _APPLE:
            video.codec_context.codec_tag = "hvc1"  # Apple's players take no other
        return video

    def _configure(self, context: VideoCodecContext) -> None:
        context.height, context.width = self.size
        context.pix_fmt = self.format
        context.framerate, context.time_base = self.rate, 1 / self.rate
        if self.aspect:
            context.sample_aspect_ratio = self.aspect
        if not av.VideoFormat(self.format).is_rgb:
            context.colorspace, context.color_range = self.colours.matrix, self.colours.range
            context.color_primaries, context.color_trc = self.colours.primaries, self.colours.transfer


def choose_encoding(
    source: Scan, scale: int, colours: Colours, target: Path, codec: VideoCodec | None, crf: int | None
) -> tuple[VideoEncoding, tuple[str, ...]]:
    """How to encode an enlarged video, and notes on what cannot be kept as it is.

    Args:
        source: The video.
        scale: How many times as wide and high it gets.
        colours: What its samples are to mean.
        target: The output, whose ending says what codecs fit.
        codec: None for H.264 or, for more than 8 bits a sample, HEVC; in WebM for VP9 or AV1.
        crf: The quality; None for the codec's default.

    Raises:
        UsageError: `crf` is outside its range.
        OutputError: The output could not say what shape its pixels have.
    """
    if codec is None:
        web, deep = target.suffix.lower() == ".webm", is_deep(source.format)
        codec = ("av1" if deep else "vp9") if web else ("hevc" if deep else "h264")
    encoder = _ENCODERS[codec]
    if crf is not None and encoder.crf is None:
        raise UsageError(f"crf {crf}: {codec} has no such setting", parameter="crf")
    if crf is not None and not 0 <= crf <= encoder.worst:
        raise UsageError(f"crf {crf}: expected 0 to {encoder.worst} for {codec}", parameter="crf")
    if source.aspect not in (None, 1) and not _says_shape(codec, target):
        raise OutputError(
            f"{target}: pixels of the source are {source.aspect} times as wide as high, which {codec} in such a file"
            " cannot say; choose another codec or an output named .mp4",
            parameter="codec",
        )
    if codec == "prores":  # which knows no other
        colours = replace(colours, range=LIMITED)
    format, notes = _choose_format(encoder, source.format)
    height, width = source.size[0] * scale, source.size[1] * scale
    if encoder.even and (height % 2 or width % 2):
        pixels = av.VideoFormat(format, 2, 2)
        cut = height - height % (2 // pixels.chroma_height()), width - width % (2 // pixels.chroma_width())
        if cut != (height, width):
            notes += (f"{width} x {height} is cut to {cut[1]} x {cut[0]}: {codec} needs even sides",)
        height, width = cut
    quality = encoder.crf if crf is None else crf
    # Encoders count frames: the rate is but a hint for them, and some refuse odd ones.
    rate = min(max(source.rate.limit_denominator(1001), Fraction(_SLOWEST)), Fraction(_FASTEST))
    return VideoEncoding(codec, quality, (height, width), format, rate, source.aspect, colours), notes


def _says_shape(codec: VideoCodec, target: Path) -> bool:
    """Whether an output can say that pixels are not square; FFmpeg's muxers of Matroska and WebM do not."""
    return codec in _SHAPE_IN_FRAMES or CONTAINERS[target.suffix.lower()] in _APPLE


def _choose_format(encoder: _Encoder, source: str) -> tuple[str, tuple[str, ...]]:
    """The format nearest to the source's among those of the encoder, and what is lost."""
    formats = [each.name for each in Codec(encoder.name, "w").video_formats or ()]
    # Players know no grey video; yuvj formats are others' names for full range.
    suitable = [
        each
        for each in formats
        if not _has_alpha(each) and "yuvj" not in each and (each.startswith("yuv4") or encoder.name == "ffv1")
    ]
    wanted = source.replace("yuvj", "yuv")
    if wanted.startswith("gray") and wanted not in suitable:
        wanted = wanted.replace("gray", "yuv420p")
    best, loss = find_best_pix_fmt_of_list(suitable, wanted, False)
    assert best is not None
    notes = []
    if _has_alpha(source) and not av.VideoFormat(source).has_palette:
        notes.append("transparency is left out")
    if loss & PixFmtLoss.DEPTH:
        notes.append(f"{_bits(source)} bits a sample become {_bits(best.name)}")
    return best.name, tuple(notes)


def _has_alpha(format: str) -> bool:
    return any(each.is_alpha for each in av.VideoFormat(format).components)


def _bits(format: str) -> int:
    bits: int = max(component.bits for component in av.VideoFormat(format).components)
    return bits
