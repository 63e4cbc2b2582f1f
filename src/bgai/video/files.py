"""A video file in, an enlarged file out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from bgai._version import __version__
from bgai.atomic_files import claimed, whole_or_nothing
from bgai.choices import VideoCodec
from bgai.errors import InWorkError, OutputError, UsageError, VideoError
from bgai.types import Progress
from bgai.upscaling.recipe import file_digest, weights_digest
from bgai.upscaling.upscaler import Upscaler
from bgai.video.colours import Colours, Converter, choose_colours, is_deep
from bgai.video.encoding import CONTAINERS, VideoEncoding, choose_encoding
from bgai.video.muxing import check_target, write_container
from bgai.video.segments import FRAMES, EncodedFrame, Segments
from bgai.video.source import Scan, decode, deinterlaced, opened, scan


@dataclass(frozen=True, slots=True)
class VideoPlan:
    """What will be done; looked at and checked before any frame is enlarged."""

    source: Path
    target: Path
    scanned: Scan
    colours: Colours
    """Of the source."""
    encoding: VideoEncoding
    deinterlace: bool
    overwrite: bool
    notes: tuple[str, ...]
    """What is not kept as it is."""

    @property
    def segments(self) -> int:
        return -(-len(self.scanned.times) // FRAMES)


@dataclass(frozen=True, slots=True)
class EnlargedVideo:
    """An output that was written."""

    target: Path
    frames: int
    resumed: int
    """How many frames an earlier run had enlarged."""
    repeated: int
    """How many of the others are equal to the one before, and were not enlarged again."""
    notes: tuple[str, ...]


def plan_video(
    source: Path,
    target: Path,
    scale: int,
    *,
    codec: VideoCodec | None = None,
    crf: int | None = None,
    deinterlace: bool = False,
    overwrite: bool = False,
    lenient: bool = False,
    progress: Progress | None = None,
) -> VideoPlan:
    """Decode a video once, and find out whether its enlarged version can be written.

    Args:
        source: A video file.
        target: The output; its ending chooses between MP4, MOV, Matroska and WebM.
        scale: 2, 3 or 4.
        codec: Of the output; None for H.264 or, for more than 8 bits a sample, HEVC; in WebM for VP9 or AV1.
        crf: Quality, lower is better; None for the codec's default.
        deinterlace: Whether frames that consist of two fields are made whole before.
        overwrite: Whether a file that exists may be replaced.
        lenient: Whether a damaged source is enlarged as far as it can be decoded.
        progress: Called with frames that were read.

    Raises:
        UsageError: An argument is outside its range.
        VideoError: The source is no video, or damaged.
        OutputError: The target exists, or cannot hold what is in the source.
    """
    if target.suffix.lower() not in CONTAINERS:
        raise UsageError(f"{target}: expected a name that ends in {', '.join(CONTAINERS)}", parameter="output")
    if target.exists() and not overwrite:
        raise OutputError(
            f"{target}: exists already; choose another output or allow overwriting", parameter="overwrite"
        )
    if target.exists() and source.exists() and target.samefile(source):
        raise OutputError(f"{target}: would replace its original; choose another output", parameter="output")
    try:
        scanned = scan(source, progress)
        colours = choose_colours(scanned.colour_tags, scanned.size, scanned.format)
    except OSError as error:
        raise VideoError(f"{source}: cannot be read: {error.strerror or error}") from error
    if scanned.damage and not lenient:
        raise VideoError(f"{source}: damaged or cut short: {scanned.damage}", parameter="lenient")
    encoding, notes = choose_encoding(scanned, scale, colours, target, codec, crf)
    encoding.check()
    notes += check_target(source, scanned, target, encoding)
    if scanned.damage:
        notes += (f"damaged or cut short: {scanned.damage}",)
    notes += tuple(f"{what} left out" for what in scanned.extras)
    if scanned.interlaced and not deinterlace:
        notes += (
            "interlaced: each frame holds two moments line by line, which are enlarged as one picture; deinterlacing it"
            " gives better results",
        )
    return VideoPlan(source, target, scanned, colours, encoding, deinterlace, overwrite, notes)


def suits_photo(scanned: Scan) -> bool:
    """Whether the weights `photo` fit a video: all codecs but lossless ones leave traces of compression."""
    return not scanned.lossless


def run_video(plan: VideoPlan, upscaler: Upscaler, progress: Progress | None = None) -> EnlargedVideo:
    """Enlarge a video; the output appears whole or not at all.

    Finished segments are kept in a folder beside the output until it is there: the same call goes on after them.

    Args:
        plan: For this scale.
        upscaler: What enlarges frames.
        progress: Called with the frames that are done.

    Raises:
        InWorkError: Another process makes the same output now.
        VideoError: A frame cannot be converted.
        OutputError: The output cannot be written.
    """
    with claimed(plan.target) as ours:
        if not ours:
            raise InWorkError(f"{plan.target}: another process makes it now")
        segments = Segments(plan.target, _owner(plan, upscaler))
        work = _Work(plan, upscaler, segments, progress)
        work.make_segments()
        with whole_or_nothing(plan.target, plan.overwrite) as partial:
            numbers = segments.numbers(plan.segments)
            if sorted(numbers) != list(range(len(plan.scanned.times))):
                raise OutputError(f"{plan.target}: the encoder gave {len(numbers)} of {len(plan.scanned.times)} frames")
            frames = segments.frames(plan.segments)
            write_container(plan.source, plan.scanned, partial, plan.target, plan.encoding, numbers, frames)
        segments.remove()
        notes = ("what an earlier run with other settings had left was removed",) if segments.replaced else ()
        return EnlargedVideo(plan.target, len(plan.scanned.times), work.resumed, work.repeated, notes)


def _owner(plan: VideoPlan, upscaler: Upscaler) -> str:
    """Says all that the frames depend on."""
    facts = {
        "version": f"{__version__} {av.__version__}",
        "source": file_digest(plan.source),
        "weights": weights_digest(upscaler.weights),
        "scale": upscaler.scale,
        "encoding": asdict(plan.encoding),
        "deinterlace": plan.deinterlace,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


@dataclass
class _Work:
    """Makes the segments that are not there yet."""

    plan: VideoPlan
    upscaler: Upscaler
    segments: Segments
    progress: Progress | None
    resumed: int = 0
    repeated: int = 0
    _last: NDArray[Any] | None = None
    _enlarged: NDArray[Any] | None = None
    _converter: Converter = field(init=False)

    def __post_init__(self) -> None:
        plan = self.plan
        self._converter = Converter(plan.colours, plan.encoding.colours, is_deep(plan.scanned.format))

    def make_segments(self) -> None:
        """Decode, enlarge and encode."""
        plan = self.plan
        self._advance(0)
        with opened(plan.source) as (container, stream):
            decoded = decode(container, stream)
            frames = self._frames(deinterlaced(decoded, stream) if plan.deinterlace else decoded)
            for index in range(plan.segments):
                count = min(FRAMES, len(plan.scanned.times) - index * FRAMES)
                if self.segments.is_finished(index):
                    for _ in range(count):
                        next(frames)
                    self.resumed += count
                    self._advance((index + 1) * FRAMES)
                    continue
                encoder = plan.encoding.open(global_header=True)
                self.segments.write(
                    index, encoder.extradata or b"", self._encoded(encoder, frames, index * FRAMES, count)
                )

    def _frames(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        yield from frames
        raise VideoError(f"{self.plan.source}: has fewer frames than before: was it changed meanwhile?")

    def _encoded(
        self, encoder: VideoCodecContext, frames: Iterator[av.VideoFrame], first: int, count: int
    ) -> Iterator[EncodedFrame]:
        # Encoders count frames; when each is shown is known from the source.
        for number in range(first, first + count):
            frame = self._converter.from_rgb(self._enlarge(next(frames)), self.plan.encoding.format)
            frame.pts, frame.time_base = number, 1 / self.plan.encoding.rate
            yield from map(_as_encoded, encoder.encode(frame))
            self._advance(number + 1)
        yield from map(_as_encoded, encoder.encode(None))

    def _enlarge(self, frame: av.VideoFrame) -> NDArray[Any]:
        """H x W x 3 of the output's size; not computed again for a frame that is equal to the one before."""
        pixels = self._converter.to_rgb(frame)
        if self._last is not None and self._enlarged is not None and np.array_equal(pixels, self._last):
            self.repeated += 1
            return self._enlarged
        height, width = self.plan.encoding.size
        enlarged = self.upscaler.upscale(pixels)[:height, :width]
        self._last, self._enlarged = pixels, np.ascontiguousarray(enlarged)
        return self._enlarged

    def _advance(self, done: int) -> None:
        if self.progress:
            total = len(self.plan.scanned.times)
            self.progress(self.plan.source.name, min(done, total), total)


def _as_encoded(packet: av.Packet[Any]) -> EncodedFrame:
    assert packet.pts is not None
    return EncodedFrame(packet.pts, packet.is_keyframe, bytes(packet))
