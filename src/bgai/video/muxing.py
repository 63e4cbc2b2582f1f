"""The enlarged video's file: the new frames at the times of the old ones, and all other streams as they are."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from bgai.errors import OutputError
from bgai.video.encoding import CONTAINERS, VideoEncoding
from bgai.video.segments import EncodedFrame
from bgai.video.source import Scan, is_cover, opened, reason

# Of a broadcast's clock, which begins anywhere: outputs begin at 0.
_ARBITRARY_STARTS = {"mpegts", "mpeg"}
# Tags that describe the source's file or encoding and not what is to be seen.
_OF_THE_FILE = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration", "rotate"}
_STATISTICS = ("BPS", "NUMBER_OF_", "_STATISTICS_", "DURATION")
_KINDS = {"audio": "sound", "subtitle": "subtitles", "attachment": "attachment", "video": "cover picture"}
_Streams = dict[int, Stream]


def check_target(source: Path, scanned: Scan, target: Path, encoding: VideoEncoding) -> tuple[str, ...]:
    """Find out before any work is done whether the output's container can hold all streams.

    Returns:
        Notes on what is left out.

    Raises:
        OutputError: It cannot.
    """
    notes: list[str] = []
    with opened(source) as (container, stream), ExitStack() as stack:
        output = stack.enter_context(_open_output(io.BytesIO(), target, {}))
        try:
            _add_streams(container, stream, scanned, output, encoding, target, notes)
            output.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            raise OutputError(
                f"{target}: such a file cannot hold {encoding.codec} with the sound and subtitles of the source"
                f" ({reason(error)}); choose another codec or an output named .mkv",
                parameter="codec",
            ) from error
    return tuple(notes)


def write_container(
    source: Path,
    scanned: Scan,
    partial: Path,
    target: Path,
    encoding: VideoEncoding,
    numbers: Sequence[int],
    frames: Iterator[EncodedFrame],
) -> None:
    """Write the whole output.

    Args:
        source: The video that was enlarged.
        scanned: What it is.
        partial: Where to write.
        target: What the file will be called.
        encoding: How frames were encoded.
        numbers: Of all frames in the order of decoding.
        frames: All, in the same order.

    Raises:
        OutputError: It cannot be written.
    """
    options = {"movflags": "faststart"} if CONTAINERS[target.suffix.lower()] in ("mp4", "mov") else {}
    with opened(source) as (container, stream):
        start = _start(container)
        try:
            with _open_output(f"file:{partial}", target, options) as output:
                video, others = _add_streams(container, stream, scanned, output, encoding, target, [])
                output.start_encoding()
                packets = _video_packets(frames, numbers, scanned, video, start)
                waiting = next(packets, None)
                for packet in _copied(container, others, start):
                    while waiting is not None and _seconds(waiting) <= _seconds(packet):
                        output.mux_one(waiting)
                        waiting = next(packets, None)
                    output.mux_one(packet)
                while waiting is not None:
                    output.mux_one(waiting)
                    waiting = next(packets, None)
        except av.FFmpegError as error:
            raise OutputError(f"{target}: cannot be written: {reason(error)}") from error


def _open_output(file: Any, target: Path, options: Mapping[str, str]) -> OutputContainer:
    output: OutputContainer = av.open(file, "w", format=CONTAINERS[target.suffix.lower()], options=dict(options))
    return output


def _add_streams(
    container: InputContainer,
    stream: VideoStream,
    scanned: Scan,
    output: OutputContainer,
    encoding: VideoEncoding,
    target: Path,
    notes: list[str],
) -> tuple[VideoStream, _Streams]:
    """The new video stream, and the copied ones by their number in the source; in the source's order."""
    output.metadata.update(_described(container.metadata))
    video: VideoStream | None = None
    others: _Streams = {}
    for each in container.streams:
        if each is stream or each.index == stream.index:
            video = _add_video(stream, scanned, output, encoding, target)
        elif each.type == "data" or (isinstance(each, VideoStream) and not is_cover(each)) or each.type == "unknown":
            notes.append(f"stream {each.index} ({each.type}) is left out")
        else:
            others[each.index] = _add_copy(each, output, target)
    output.set_chapters(container.chapters())
    assert video is not None
    return video, others


def _add_video(
    stream: VideoStream, scanned: Scan, output: OutputContainer, encoding: VideoEncoding, target: Path
) -> VideoStream:
    try:
        video = encoding.add_stream(output)
    except ValueError as error:
        raise OutputError(
            f"{target}: such a file cannot hold {encoding.codec}; choose another codec or an output named .mkv",
            parameter="codec",
        ) from error
    video.time_base = scanned.time_base
    video.metadata.update(_described(stream.metadata))
    video.disposition = stream.disposition
    if scanned.display_matrix:
        video.set_display_matrix(scanned.display_matrix)
    return video


def _add_copy(stream: Stream, output: OutputContainer, target: Path) -> Stream:
    try:
        if stream.type == "attachment":
            attachment: Any = stream
            name = attachment.metadata.get("filename", "attachment")
            return output.add_attachment(name, attachment.mimetype or "application/octet-stream", attachment.data)
        copy = output.add_stream_from_template(stream, opaque=True)
    except ValueError as error:
        context = stream.codec_context
        kind = f"{_KINDS[stream.type]} ({context.name})" if context else _KINDS[stream.type]
        raise OutputError(
            f"{target}: such a file cannot hold the {kind} of the source; choose an output named .mkv",
            parameter="output",
        ) from error
    copy.metadata.update(_described(stream.metadata))
    copy.disposition = stream.disposition
    return copy


def _described(metadata: Mapping[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _OF_THE_FILE and not key.startswith(_STATISTICS)
    }


def _start(container: InputContainer) -> Fraction:
    """Seconds at which the source begins, which are taken off where they mean nothing."""
    arbitrary = container.format.name in _ARBITRARY_STARTS
    return Fraction(container.start_time or 0, 1_000_000) if arbitrary else Fraction(0)


def _video_packets(
    frames: Iterator[EncodedFrame], numbers: Sequence[int], scanned: Scan, video: VideoStream, start: Fraction
) -> Iterator[Packet[Any]]:
    times = scanned.times
    shift = round(start / scanned.time_base)
    for frame, decoded_at in zip(frames, decoding_times(numbers, times), strict=True):
        packet: Packet[Any] = Packet(frame.data)
        packet.time_base = scanned.time_base
        packet.pts, packet.dts = times[frame.number] - shift, decoded_at - shift
        last = frame.number + 1 == len(times)
        packet.duration = scanned.last_duration if last else times[frame.number + 1] - times[frame.number]
        packet.is_keyframe = frame.key
        packet.stream = video
        yield packet


def decoding_times(numbers: Sequence[int], times: Sequence[int]) -> list[int]:
    """When each frame is to be decoded: each later than the one before, and none later than it is shown.

    Args:
        numbers: Of the frames in the order of decoding: places in `times`.
        times: When frames are shown, ascending.

    Example:
        >>> decoding_times([0, 3, 1, 2], [0, 10, 20, 30])
        [-10, 0, 10, 20]
    """
    delay = max((place - number for place, number in enumerate(numbers)), default=0)
    step = times[1] - times[0] if len(times) > 1 else 1
    early = [times[0] - step * (delay - place) for place in range(delay)]
    return [*early, *times][: len(numbers)]


def _copied(container: InputContainer, others: _Streams, start: Fraction) -> Iterator[Packet[Any]]:
    streams = [each for each in container.streams if each.index in others and each.type != "attachment"]
    if not streams:
        return
    for packet in container.demux(streams):
        if packet.size == 0:  # the end of a stream
            continue
        shift = round(start / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = others[packet.stream_index]
        yield packet


def _seconds(packet: Packet[Any]) -> Fraction:
    time = packet.pts if packet.dts is None else packet.dts
    return (time or 0) * packet.time_base
