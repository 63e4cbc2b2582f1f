"""Videos that tests make and look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray
from support import save_repeating_graph, texture

from bgai.types import RgbImage
from bgai.upscaling.upscaler import Upscaler

FRAMES = 12
HEIGHT, WIDTH = 24, 32
B_FRAMES = {"libx264": {"bf": "3", "b_strategy": "0"}, "mpeg4": {"bf": "2"}, "mpeg2video": {"bf": "2"}}


def moving_picture(count: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> list[RgbImage]:
    """Parts of one picture, each two pixels further right and down."""
    whole = texture(height + 2 * count, width + 2 * count)
    starts = range(0, 2 * count, 2)
    return [np.ascontiguousarray(whole[start : start + height, start : start + width]) for start in starts]


def make_video(
    path: Path,
    frames: Sequence[NDArray[Any]] | None = None,
    *,
    codec: str = "libx264",
    format: str = "yuv420p",
    times: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    options: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    prepare: Callable[[OutputContainer, VideoStream], None] | None = None,
    after: Callable[[OutputContainer], None] | None = None,
) -> Path:
    """Write a video without sound.

    Args:
        path: Its ending sets the container.
        frames: RGB, uint8 or uint16; None for `moving_picture`.
        codec: FFmpeg's name of the encoder.
        format: Of pixels.
        times: When frames are shown, in units of `time_base`; None for one each.
        time_base: In seconds.
        options: Of the encoder.
        settings: Attributes of the stream's codec context.
        prepare: Called before the first frame, to add streams and tags.
        after: Called after the last one, to write packets of other streams.
    """
    pictures = moving_picture() if frames is None else frames
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(
            codec, rate=Fraction(25), options=dict(B_FRAMES.get(codec, {}) if options is None else options)
        )
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], format
        stream.codec_context.time_base = time_base
        stream.time_base = time_base
        for name, value in (settings or {}).items():
            setattr(stream.codec_context, name, value)
        if prepare:
            prepare(output, stream)
        for time, pixels in zip(times or range(len(pictures)), pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb48le" if pixels.dtype == np.uint16 else "rgb24")
            frame = frame.reformat(format=format)
            frame.pts, frame.time_base = time, time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if after:
            after(output)
    return path


def frames_of(path: Path) -> list[RgbImage]:
    """All frames as RGB."""
    with av.open(str(path)) as container:
        frames: Iterator[Any] = container.decode(video=0)
        return [frame.to_ndarray(format="rgb24") for frame in frames]


def times_of(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds."""
    with av.open(str(path)) as container:
        frames: Iterator[Any] = container.decode(video=0)
        return [frame.pts * frame.time_base for frame in frames]


def packets_of(path: Path, index: int) -> list[tuple[Fraction, bytes]]:
    """Time in seconds and content of each packet of a stream."""
    with av.open(str(path)) as container:
        packets: Iterator[Any] = container.demux(container.streams[index])
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in packets if packet.size]


def repeating_upscaler(folder: Path) -> Upscaler:
    """Enlarges twice by repeating pixels, fast."""
    save_repeating_graph(folder / "repeat.onnx", 0.0)
    return Upscaler(2, folder / "repeat.onnx")
