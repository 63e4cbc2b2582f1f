"""A video file: its video stream, the frames in order, and when each is shown."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.filter import Graph
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from bgai.errors import VideoError
from bgai.pictures.decoders import open_picture
from bgai.types import Progress, Size

_BUFFER = 2**18
# What comes with frames and is not written again, by PyAV's names.
_EXTRAS = {
    "A53_CC": "closed captions within the frames are",
    "MASTERING_DISPLAY_METADATA": "what is said of the mastering display is",
    "CONTENT_LIGHT_LEVEL": "what is said of the brightness is",
    "DYNAMIC_HDR_PLUS": "HDR10+ is",
    "DOVI_METADATA": "Dolby Vision is",
    "SPHERICAL": "that it is a view all around is",
    "STEREO3D": "that it is stereoscopic is",
}
_MATRIX_BYTES = 9 * 4


@dataclass(frozen=True, slots=True)
class Scan:
    """What a video is, from decoding all of it once."""

    times: tuple[int, ...]
    """When each frame is shown, in units of `time_base`; each later than the one before."""
    last_duration: int
    """How long the last frame is shown, in units of `time_base`."""
    time_base: Fraction
    """In seconds."""
    rate: Fraction
    """Frames a second, on average."""
    size: Size
    format: str
    """Of pixels, as FFmpeg names it."""
    codec: str
    """As FFmpeg names it."""
    lossless: bool
    """Whether the codec can only be lossless."""
    aspect: Fraction | None
    """Width of a pixel divided by its height; None where the file does not say."""
    colour_tags: tuple[int, int, int, int]
    """Range, primaries, transfer and matrix of the first frame, with the numbers of ITU-T H.273."""
    display_matrix: tuple[int, ...] | None
    """Rotation and mirroring, 3 x 3 numbers as in MP4; None where frames are shown as they are stored."""
    interlaced: int
    """How many frames consist of two fields."""
    extras: tuple[str, ...]
    """What else comes with the frames, in words."""
    damage: str
    """What could not be decoded, in words; empty where all could."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its video stream.

    Raises:
        VideoError: The file is no video, or cannot be read.
    """
    # A file object: FFmpeg would take names such as `concat:a` for addresses. Files that name further files get none.
    if path.is_dir():
        raise VideoError(f"{path}: a folder, not a video file")
    with open_picture(path) as file:
        if not path.stat().st_size:
            raise VideoError(f"{path}: the file is empty")
        try:
            container = av.open(
                file,
                "r",
                buffer_size=_BUFFER,
                metadata_errors="replace",
                container_options={"protocol_whitelist": "none"},
            )
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(f"{path}: no video that can be read: {reason(error)}") from error
        with container:
            yield container, _video_stream(path, container)


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    streams = [each for each in container.streams.video if not is_cover(each)]
    if not streams:
        only = "only sound" if container.streams.audio else "nothing to enlarge"
        raise VideoError(f"{path}: there is no video in it, {only}")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise VideoError(f"{path}: its video is of a kind that cannot be decoded")
    stream.thread_type = "AUTO"
    return stream


def is_cover(stream: VideoStream) -> bool:
    """Whether a stream is a picture that belongs to a file, such as an album's cover."""
    return bool(stream.disposition & Disposition.attached_pic)


def decode(container: InputContainer, stream: VideoStream, damage: list[str] | None = None) -> Iterator[VideoFrame]:
    """All frames in the order in which they are shown.

    Args:
        container: Opened anew.
        stream: Its video stream.
        damage: Gets in words what cannot be decoded; the frames after that are decoded all the same.
    """
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            yield from packet.decode()
        except av.FFmpegError as error:
            if damage is not None:
                damage.append(reason(error))
            if isinstance(error, av.EOFError):
                return


def deinterlaced(frames: Iterator[VideoFrame], stream: VideoStream) -> Iterator[VideoFrame]:
    """As many frames, without the comb lines of those that consist of two fields (by FFmpeg's filter bwdif)."""
    graph = Graph()
    source, sink = graph.add_buffer(template=stream), graph.add("buffersink")
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), sink).configure()
    for frame in chain(frames, (None,)):
        graph.vpush(frame)
        with suppress(av.BlockingIOError, av.EOFError):  # the filter waits for the next frame, or is at the end
            while True:
                yield graph.vpull()


def scan(path: Path, progress: Progress | None = None) -> Scan:
    """Decode a video once, so that everything about it is known before it is enlarged.

    Args:
        path: The file.
        progress: Called with frames.

    Raises:
        VideoError: The file is no video, has no frames, or changes its size.
    """
    damage: list[str] = []
    times: list[int] = []
    interlaced = 0
    extras: set[str] = set()
    first: VideoFrame | None = None
    duration = 0
    with opened(path) as (container, stream):
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        time_base = stream.time_base or 1 / rate
        step = max(1, round(1 / rate / time_base))
        expected = stream.frames or _estimated_frames(container, stream, rate)
        for frame in decode(container, stream, damage):
            if first is None:
                first = frame
            elif (frame.width, frame.height) != (first.width, first.height):
                raise VideoError(
                    f"{path}: changes its size after frame {len(times)}, from {first.width} x {first.height} to"
                    f" {frame.width} x {frame.height}; cut it there"
                )
            time = frame.dts if frame.pts is None else frame.pts
            times.append(_after(times, step) if time is None else time)
            duration = frame.duration
            interlaced += frame.interlaced_frame
            extras.update(_EXTRAS.keys() & _side_data(frame))
            if progress:
                progress(f"reading {path.name}", len(times), max(expected, len(times)))
        if first is None:
            raise VideoError(f"{path}: no frame of its video can be decoded" + (f": {damage[0]}" if damage else ""))
        if stream.frames > len(times):
            damage.append(f"{len(times)} of {stream.frames} frames are there")
        return Scan(
            _ascending(times),
            duration or step,
            time_base,
            rate,
            (first.height, first.width),
            first.format.name,
            stream.codec_context.codec.canonical_name,
            stream.codec_context.codec.lossless and not stream.codec_context.codec.lossy,
            stream.sample_aspect_ratio or None,
            (first.color_range, first.color_primaries, first.color_trc, first.colorspace),
            _display_matrix(first),
            interlaced,
            tuple(text for name, text in _EXTRAS.items() if name in extras),
            _counted(damage),
        )


def _estimated_frames(container: InputContainer, stream: VideoStream, rate: Fraction) -> int:
    if stream.duration and stream.time_base:
        return int(stream.duration * stream.time_base * rate)
    return int((container.duration or 0) * rate / 1_000_000)


def _after(times: list[int], step: int) -> int:
    return times[-1] + step if times else 0


def _ascending(times: list[int]) -> tuple[int, ...]:
    """Times in order, each later than the one before: AVI says when frames are decoded and not when they are shown."""
    ordered: list[int] = []
    for time in sorted(times):
        ordered.append(max(time, ordered[-1] + 1) if ordered else time)
    return tuple(ordered)


def _side_data(frame: VideoFrame) -> set[str]:
    parts: Any = frame.side_data
    return {part.type.name for part in parts}


def _display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    side_data: Any = frame.side_data.get("DISPLAYMATRIX")
    return None if side_data is None else struct.unpack("=9i", bytes(side_data)[:_MATRIX_BYTES])


def _counted(damage: list[str]) -> str:
    return damage[0] + (f", and {len(damage) - 1} more" if len(damage) > 1 else "") if damage else ""


def reason(error: Exception) -> str:
    """Why FFmpeg failed, in its words."""
    return (getattr(error, "strerror", None) or str(error)).lower()
