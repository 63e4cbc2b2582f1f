"""What else is in the file is copied, and each container gets what it can hold."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream
from video_support import FRAMES, frames_of, make_video, packets_of, repeating_upscaler, times_of

from bgai.errors import OutputError
from bgai.upscaling.upscaler import Upscaler
from bgai.video.files import plan_video, run_video
from bgai.video.muxing import decoding_times

Prepare = Callable[[OutputContainer, VideoStream], None]
After = Callable[[OutputContainer], None]


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> Upscaler:
    return repeating_upscaler(tmp_path_factory.mktemp("weights"))


def enlarge(source: Path, target: Path, upscaler: Upscaler) -> tuple[str, ...]:
    plan = plan_video(source, target, 2)
    run_video(plan, upscaler)
    return plan.notes


def with_sound(codec: str = "aac") -> tuple[Prepare, After]:
    """Functions that add half a second of a tone."""
    streams: list[Any] = []

    def prepare(output: OutputContainer, _: VideoStream) -> None:
        streams[:] = [output.add_stream(codec, rate=48000)]
        streams[0].metadata["language"] = "fra"

    def after(output: OutputContainer) -> None:
        stream = streams[0]
        for start in range(0, 24000, 960):
            tone = np.sin(np.arange(start, start + 960) * 0.05).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), "fltp", "stereo")
            frame.sample_rate, frame.pts = 48000, start
            if codec.startswith("pcm"):
                frame = av.AudioResampler("s16").resample(frame)[0]
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))

    return prepare, after


def with_subtitles(output: OutputContainer, stream: Any) -> None:
    for number, text in enumerate((b"one", b"two")):
        packet: Packet[Any] = Packet(text)
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = 100 + 150 * number
        packet.duration = 100
        output.mux(packet)


@pytest.mark.parametrize(
    ("name", "target", "codec"),
    [
        ("in.mp4", "out.mp4", "aac"),
        ("in.mp4", "out.mkv", "aac"),
        ("in.mov", "out.mov", "pcm_s16le"),
        ("in.mkv", "out.mkv", "flac"),
        ("in.ts", "out.mp4", "aac"),
        ("in.mkv", "out.webm", "libopus"),
    ],
)
def test_sound_is_copied(name: str, target: str, codec: str, upscaler: Upscaler, tmp_path: Path) -> None:
    prepare, after = with_sound(codec)
    source = make_video(tmp_path / name, prepare=prepare, after=after)
    enlarge(source, tmp_path / target, upscaler)
    before, now = packets_of(source, 1), packets_of(tmp_path / target, 1)
    if name == "in.ts":  # each packet of AAC has a header there
        before = [(time, data[7:]) for time, data in before]
    assert [data for _, data in now] == [data for _, data in before]
    # The sound is where it was to the pictures.
    shift = now[0][0] - before[0][0]
    assert [float(time - shift) for time, _ in now] == pytest.approx([float(time) for time, _ in before], abs=0.002)
    pictures = times_of(tmp_path / target)
    assert len(pictures) == FRAMES
    assert float(pictures[0] - shift) == pytest.approx(float(times_of(source)[0]), abs=0.002)


def test_subtitles_chapters_attachments_and_tags_are_copied(upscaler: Upscaler, tmp_path: Path) -> None:
    subtitles: list[Any] = []

    def prepare(output: OutputContainer, stream: VideoStream) -> None:
        output.metadata["title"] = "A film"
        stream.metadata["title"] = "The pictures"
        stream.disposition = Disposition.default
        subtitles[:] = [output.add_mux_stream("subrip")]
        subtitles[0].metadata["language"] = "deu"
        subtitles[0].disposition = Disposition.forced
        output.add_attachment("font.ttf", "font/ttf", b"a font")
        output.set_chapters(
            [{"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "Beginning"}}]
        )

    source = make_video(tmp_path / "in.mkv", prepare=prepare, after=lambda output: with_subtitles(output, subtitles[0]))
    assert enlarge(source, tmp_path / "out.mkv", upscaler) == ()
    assert packets_of(tmp_path / "out.mkv", 1) == packets_of(source, 1)
    assert [data for _, data in packets_of(source, 1)] == [b"one", b"two"]
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.metadata["title"] == "A film"
        assert container.streams.video[0].metadata["title"] == "The pictures"
        assert container.streams[1].metadata["language"] == "deu"
        assert container.streams[1].disposition == Disposition.forced
        (attachment,) = container.streams.attachments
        assert (attachment.metadata["filename"], attachment.mimetype, attachment.data) == (
            "font.ttf",
            "font/ttf",
            b"a font",
        )
        chapters: list[Any] = [*container.chapters()]
        (chapter,) = chapters
        assert chapter["metadata"] == {"title": "Beginning"}
        assert chapter["end"] * chapter["time_base"] == Fraction(1, 5)


def test_what_a_container_cannot_hold_is_said_before_any_work(upscaler: Upscaler, tmp_path: Path) -> None:
    subtitles: list[Any] = []

    def prepare(output: OutputContainer, _: VideoStream) -> None:
        subtitles[:] = [output.add_mux_stream("subrip")]

    source = make_video(tmp_path / "in.mkv", prepare=prepare, after=lambda output: with_subtitles(output, subtitles[0]))
    with pytest.raises(OutputError, match=r"cannot hold the subtitles \(srt\) of the source.*named \.mkv"):
        plan_video(source, tmp_path / "out.mp4", 2)
    with pytest.raises(OutputError, match=r"cannot hold h264; choose another codec"):
        plan_video(make_video(tmp_path / "in.mp4"), tmp_path / "out.webm", 2, codec="h264")
    with pytest.raises(OutputError, match=r"cannot hold vp9"):
        plan_video(tmp_path / "in.mp4", tmp_path / "out.mov", 2, codec="vp9")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "in.mp4"]


def test_a_cover_is_copied_and_not_enlarged(upscaler: Upscaler, tmp_path: Path) -> None:
    def prepare(output: OutputContainer, _: VideoStream) -> None:
        cover: Any = output.add_stream("png")
        cover.width, cover.height, cover.pix_fmt = 40, 40, "rgb24"
        cover.disposition = Disposition.attached_pic
        covers.append(cover)

    def after(output: OutputContainer) -> None:
        frame = av.VideoFrame.from_ndarray(np.zeros((40, 40, 3), np.uint8), "rgb24")
        output.mux(covers[0].encode(frame))

    covers: list[Any] = []
    source = make_video(tmp_path / "in.mp4", prepare=prepare, after=after)
    enlarge(source, tmp_path / "out.mp4", upscaler)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [(each.width, each.height) for each in container.streams.video] == [(64, 48), (40, 40)]
        assert container.streams.video[1].disposition & Disposition.attached_pic
    assert len(frames_of(tmp_path / "out.mp4")) == FRAMES


def test_a_second_video_is_left_out_with_a_note(upscaler: Upscaler, tmp_path: Path) -> None:
    def prepare(output: OutputContainer, _: VideoStream) -> None:
        other: Any = output.add_stream("mpeg4", rate=25)
        other.width, other.height, other.pix_fmt = 16, 16, "yuv420p"
        others.append(other)

    def after(output: OutputContainer) -> None:
        frame = av.VideoFrame(16, 16, "yuv420p")
        frame.pts = 0
        output.mux(others[0].encode(frame))
        output.mux(others[0].encode(None))

    others: list[Any] = []
    source = make_video(tmp_path / "in.mkv", prepare=prepare, after=after)
    assert enlarge(source, tmp_path / "out.mkv", upscaler) == ("stream 1 (video) is left out",)


def test_frames_are_decoded_in_time() -> None:
    random_numbers = random.Random(0)
    for _ in range(200):
        count = random_numbers.randint(1, 30)
        times = sorted(random_numbers.sample(range(1000), count))
        order = list(range(count))
        for place in range(0, count - 4, 5):  # within groups, as with B-frames
            group = order[place : place + 5]
            random_numbers.shuffle(group)
            order[place : place + 5] = group
        decoded = decoding_times(order, times)
        assert all(decoded[place] <= times[number] for place, number in enumerate(order))
        assert all(first < second for first, second in pairwise(decoded))
        assert len(decoded) == count
