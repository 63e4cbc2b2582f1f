"""A video in, an enlarged one out: nothing is lost, and nothing is computed twice."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

import av
from av.codec.codec import Codec, codecs_available
from av.video.stream import VideoStream
from video_support import (
    FRAMES,
    HEIGHT,
    WIDTH,
    frames_of,
    make_video,
    moving_picture,
    packets_of,
    repeating_upscaler,
    times_of,
)

from bgai.atomic_files import claimed
from bgai.errors import InWorkError, OutputError, UsageError, VideoError
from bgai.upscaling.upscaler import Upscaler
from bgai.video import files
from bgai.video.files import EnlargedVideo, plan_video, run_video

# Encoders of sources, with an ending and a pixel format for each; those that this FFmpeg has are tried.
SOURCES = [
    ("libx264", ".mp4", "yuv420p"),
    ("libx264", ".mkv", "yuv420p"),
    ("libx264", ".ts", "yuv420p"),
    ("libx264", ".avi", "yuv420p"),
    ("libx265", ".mp4", "yuv420p"),
    ("mpeg4", ".avi", "yuv420p"),
    ("mpeg4", ".mp4", "yuv420p"),
    ("mpeg2video", ".mpg", "yuv420p"),
    ("mpeg2video", ".mkv", "yuv420p"),
    ("mpeg1video", ".mpg", "yuv420p"),
    ("mjpeg", ".avi", "yuvj420p"),
    ("libvpx", ".webm", "yuv420p"),
    ("libvpx-vp9", ".webm", "yuv420p"),
    ("libsvtav1", ".mkv", "yuv420p"),
    ("ffv1", ".mkv", "yuv444p"),
    ("huffyuv", ".avi", "rgb24"),
    ("prores_ks", ".mov", "yuv422p10le"),
    ("png", ".mov", "rgb24"),
    ("rawvideo", ".nut", "yuv420p"),
    ("flv", ".flv", "yuv420p"),
    ("wmv2", ".asf", "yuv420p"),
]


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> Upscaler:
    return repeating_upscaler(tmp_path_factory.mktemp("weights"))


def enlarge(source: Path, target: Path, upscaler: Upscaler, **settings: Any) -> EnlargedVideo:
    return run_video(plan_video(source, target, 2, **settings), upscaler)


def assert_enlarged(target: Path, pictures: list[np.ndarray[Any, Any]], tolerance: float) -> None:
    """Each frame is the picture of the same number, twice as large."""
    frames = frames_of(target)
    assert len(frames) == len(pictures)
    for frame, pixels in zip(frames, pictures, strict=True):
        wanted = pixels.repeat(2, 0).repeat(2, 1).astype(float)
        assert abs(frame - wanted).mean() < tolerance


@pytest.mark.parametrize(("codec", "suffix", "format"), SOURCES)
def test_twelve_frames_of_any_codec_come_out_at_their_times(
    codec: str, suffix: str, format: str, upscaler: Upscaler, tmp_path: Path
) -> None:
    if codec not in codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    source = make_video(tmp_path / f"in{suffix}", codec=codec, format=format)
    before, shown = sorted(times_of(source)), frames_of(source)  # of AVI they are not in order
    assert len(before) == FRAMES
    target = tmp_path / "out.mov"
    done = enlarge(source, target, upscaler)
    assert (done.frames, done.repeated, done.resumed) == (FRAMES, 0, 0)
    after = times_of(target)
    if suffix in (".ts", ".mpg"):  # whose clock begins anywhere
        before = [time - before[0] for time in before]
        after = [time - after[0] for time in after]
    assert [float(time) for time in after] == pytest.approx([float(time) for time in before], abs=1e-4)
    assert_enlarged(target, shown, 14)


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        *((codec, ".mkv") for codec in ("h264", "hevc", "av1", "vp9", "ffv1", "prores")),
        *((codec, ".mp4") for codec in ("h264", "hevc", "av1", "vp9")),
        *((codec, ".mov") for codec in ("h264", "hevc", "prores")),
        *((codec, ".webm") for codec in ("vp9", "av1")),
    ],
)
def test_twelve_frames_come_out_in_any_codec(codec: Any, suffix: str, upscaler: Upscaler, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4")
    target = tmp_path / f"out{suffix}"
    enlarge(source, target, upscaler, codec=codec)
    assert times_of(target) == times_of(source)
    assert_enlarged(target, frames_of(source), 12)


def test_segments_that_meet_are_one_video(upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_video(tmp_path / "in.mp4")
    for codec in ("h264", "hevc", "av1", "vp9", "ffv1", "prores"):
        target = tmp_path / f"{codec}.mov" if codec == "prores" else tmp_path / f"{codec}.mkv"
        monkeypatch.setattr(files, "FRAMES", 5)
        enlarge(source, target, upscaler, codec=codec)
        assert times_of(target) == times_of(source)
        assert_enlarged(target, frames_of(source), 12)


def test_variable_frame_rates_are_kept(upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = [0, 30, 31, 45, 200, 201, 202, 380, 900, 905, 1000, 1001]
    for name in ("in.mkv", "in.mp4"):
        source = make_video(tmp_path / name, times=times, time_base=Fraction(1, 1000))
        target = tmp_path / f"out{source.suffix}"
        monkeypatch.setattr(files, "FRAMES", 5)
        enlarge(source, target, upscaler)
        assert times_of(target) == times_of(source) == [Fraction(time, 1000) for time in times]


def test_times_are_kept_to_the_tick(upscaler: Upscaler, tmp_path: Path) -> None:
    times = [0, 3003, 6007, 9010, 12011, 15013, 18019, 21022, 24023, 27029, 30031, 33037]
    source = make_video(tmp_path / "in.mp4", times=times, time_base=Fraction(1, 90000))
    enlarge(source, tmp_path / "out.mp4", upscaler)
    assert times_of(tmp_path / "out.mp4") == times_of(source) == [Fraction(time, 90000) for time in times]


def test_a_frame_equal_to_the_one_before_is_not_computed_again(upscaler: Upscaler, tmp_path: Path) -> None:
    first, second = moving_picture(2)
    source = make_video(tmp_path / "in.mkv", [first] * 5 + [second] * 6 + [first], codec="ffv1", format="bgr0")
    done = enlarge(source, tmp_path / "out.mkv", upscaler, codec="ffv1")
    assert (done.frames, done.repeated) == (12, 9)
    assert_enlarged(tmp_path / "out.mkv", [first] * 5 + [second] * 6 + [first], 0.01)


def test_a_stopped_job_goes_on_and_gives_the_same_file(
    upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "FRAMES", 5)
    source = make_video(tmp_path / "in.mp4")
    enlarge(source, tmp_path / "whole.mp4", upscaler, codec="hevc")  # x264 is not the same each time

    def stop(name: str, done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    target = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        run_video(plan_video(source, target, 2, codec="hevc"), upscaler, stop)
    assert not target.exists()
    assert len(list(tmp_path.glob(".bgai-*.video/0*"))) == 1
    done = enlarge(source, target, upscaler, codec="hevc")
    assert done.resumed == 5
    assert target.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4", "whole.mp4"]


def test_other_settings_begin_anew(upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FRAMES", 5)
    source, target = make_video(tmp_path / "in.mp4"), tmp_path / "out.mp4"

    def stop(name: str, done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_video(plan_video(source, target, 2), upscaler, stop)
    done = enlarge(source, target, upscaler, crf=30)
    assert done.resumed == 0
    assert "other settings" in done.notes[0]
    with pytest.raises(KeyboardInterrupt):
        run_video(plan_video(source, target, 2, overwrite=True), upscaler, stop)
    make_video(source, moving_picture()[::-1])
    assert enlarge(source, target, upscaler, overwrite=True).resumed == 0
    assert_enlarged(target, frames_of(source), 12)


def test_colour_tags_and_the_shape_of_pixels_are_kept(upscaler: Upscaler, tmp_path: Path) -> None:
    tags = {"color_primaries": 9, "color_trc": 16, "colorspace": 9, "color_range": 2}
    settings = {**tags, "sample_aspect_ratio": Fraction(4, 3)}
    source = make_video(tmp_path / "in.mp4", settings=settings)
    for codec, name in (("h264", "out.mkv"), ("hevc", "out.mkv"), ("vp9", "out.mp4"), ("prores", "out.mov")):
        enlarge(source, tmp_path / name, upscaler, codec=codec, overwrite=True)
        with av.open(str(tmp_path / name)) as container:
            frame = next(container.decode(video=0))
            limited = {"color_range": 1} if codec == "prores" else {}  # which has no other range
            assert {name: getattr(frame, name) for name in tags} == {**tags, **limited}
            assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    with pytest.raises(OutputError, match="4/3 times as wide as high"):
        plan_video(source, tmp_path / "out.webm", 2)


def test_colours_are_those_of_the_source(upscaler: Upscaler, tmp_path: Path) -> None:
    """Whatever the matrix and range: players that go by the tags show the same."""
    flat = [np.full((24, 32, 3), (200, 60, 30), np.uint8)] * 3
    for matrix, full, codec in ((1, 1, "h264"), (5, 2, "h264"), (9, 1, "hevc"), (6, 2, "prores")):
        settings = {"colorspace": matrix, "color_range": full}
        source = make_video(tmp_path / "in.mp4", flat, settings=settings)
        enlarge(source, tmp_path / "out.mov", upscaler, overwrite=True, codec=codec)
        before, after = frames_of(source)[1][8, 8].astype(int), frames_of(tmp_path / "out.mov")[1][16, 16].astype(int)
        assert abs(before - after).max() <= 3


def test_rotation_is_kept(upscaler: Upscaler, tmp_path: Path) -> None:
    def rotate(_: Any, stream: VideoStream) -> None:
        stream.set_display_rotation(90)

    source = make_video(tmp_path / "in.mp4", prepare=rotate)
    for name in ("out.mp4", "out.mkv", "out.mov"):
        enlarge(source, tmp_path / name, upscaler)
        with av.open(str(tmp_path / name)) as container:
            frame = next(container.decode(video=0))
            assert (frame.rotation, frame.width, frame.height) == (90, 2 * WIDTH, 2 * HEIGHT)


def test_ten_bits_stay_ten_bits(upscaler: Upscaler, tmp_path: Path) -> None:
    ramp = np.zeros((24, 32, 3), np.uint16)
    ramp[...] = (np.arange(32 * 24).reshape(24, 32, 1) * 20) + 20000
    source = make_video(tmp_path / "in.mkv", [ramp] * 3, codec="ffv1", format="yuv420p10le")
    plan = plan_video(source, tmp_path / "out.mkv", 2)
    assert (plan.encoding.codec, plan.encoding.format, plan.notes) == ("hevc", "yuv420p10le", ())
    enlarge(source, tmp_path / "out.mkv", upscaler, codec="ffv1")
    with av.open(str(source)) as before, av.open(str(tmp_path / "out.mkv")) as after:
        grey = [next(each.decode(video=0)).to_ndarray(format="gray10le") for each in (before, after)]
    assert abs(grey[1][::2, ::2].astype(int) - grey[0]).max() <= 1
    assert len(np.unique(grey[1])) > 200


def test_a_cut_video_is_enlarged_only_if_asked(upscaler: Upscaler, tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.mp4", moving_picture(40), options={"g": "10", "movflags": "faststart"})
    enlarge(whole, tmp_path / "fast.mp4", upscaler)  # with its index at the beginning
    source = tmp_path / "cut.mp4"
    data = (tmp_path / "fast.mp4").read_bytes()
    source.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(VideoError, match="damaged or cut short") as raised:
        plan_video(source, tmp_path / "out.mp4", 2)
    assert raised.value.parameter == "lenient"
    plan = plan_video(source, tmp_path / "out.mp4", 2, lenient=True)
    assert "damaged or cut short" in plan.notes[0]
    done = run_video(plan, upscaler)
    assert 10 < done.frames < 40
    assert len(frames_of(tmp_path / "out.mp4")) == done.frames


def test_an_output_that_exists_is_left_alone(upscaler: Upscaler, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4")
    target = tmp_path / "out.mp4"
    target.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        plan_video(source, target, 2)
    with pytest.raises(OutputError, match="would replace its original"):
        plan_video(source, source, 2, overwrite=True)
    with pytest.raises(UsageError, match=r"expected a name that ends in \.mp4"):
        plan_video(source, tmp_path / "out.avi", 2)
    assert target.read_text() == "mine"
    enlarge(source, target, upscaler, overwrite=True)
    assert len(frames_of(target)) == FRAMES


def test_two_processes_do_not_make_one_output(upscaler: Upscaler, tmp_path: Path) -> None:
    source, target = make_video(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    plan = plan_video(source, target, 2)
    with claimed(target), pytest.raises(InWorkError, match="another process makes it now"):
        run_video(plan, upscaler)


def test_every_encoder_is_in_this_ffmpeg() -> None:
    for name in ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks"):
        assert Codec(name, "w").type == "video"


def test_interlaced_frames_are_made_whole_if_asked(upscaler: Upscaler, tmp_path: Path) -> None:
    """Of a bar that moves, odd lines show it at another place than even ones."""
    frames = []
    for number in range(FRAMES):
        frame = np.full((48, 128, 3), 60, np.uint8)
        frame[0::2, 8 * number : 8 * number + 16] = 200
        frame[1::2, 8 * number + 4 : 8 * number + 20] = 200
        frames.append(frame)
    options = {"flags": "+ildct", "x264-params": "tff=1", "crf": "5"}
    source = make_video(tmp_path / "in.mkv", frames, format="yuv444p", options=options)
    combed = plan_video(source, tmp_path / "combed.mkv", 2)
    assert combed.notes[0].startswith("interlaced: ")
    whole = plan_video(source, tmp_path / "whole.mkv", 2, deinterlace=True)
    assert whole.notes == ()
    combs = []
    for plan in (combed, whole):
        assert run_video(plan, upscaler).frames == FRAMES
        assert times_of(plan.target) == times_of(source)
        picture = frames_of(plan.target)[FRAMES // 2][:, :, 1].astype(int)
        combs.append(abs(picture[20:60:4] - picture[22:62:4]).mean())
    assert combs[1] < combs[0] / 4


def test_progressive_frames_are_not_touched_by_deinterlacing(upscaler: Upscaler, tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mkv", codec="ffv1", format="bgr0")
    for deinterlace in (False, True):
        enlarge(source, tmp_path / f"{deinterlace}.mkv", upscaler, codec="ffv1", deinterlace=deinterlace)
    assert packets_of(tmp_path / "True.mkv", 0) == packets_of(tmp_path / "False.mkv", 0)
