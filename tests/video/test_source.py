"""What a video is, and what is none."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

import av
from support import picture
from video_support import FRAMES, HEIGHT, WIDTH, make_video, moving_picture

from bgai.errors import VideoError
from bgai.video.source import scan


def test_all_that_matters_is_known_from_one_look(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    source = make_video(tmp_path / "in.mp4")
    scanned = scan(source, lambda *call: calls.append(call))
    assert [time * scanned.time_base for time in scanned.times] == [Fraction(number, 25) for number in range(FRAMES)]
    assert scanned.last_duration * scanned.time_base == Fraction(1, 25)
    assert (scanned.size, scanned.format, scanned.codec) == ((HEIGHT, WIDTH), "yuv420p", "h264")
    assert scanned.rate == 25
    assert (scanned.lossless, scanned.interlaced, scanned.damage, scanned.display_matrix) == (False, 0, "", None)
    assert calls[0] == ("reading in.mp4", 1, FRAMES)
    assert calls[-1] == ("reading in.mp4", FRAMES, FRAMES)


def test_lossless_codecs_are_known(tmp_path: Path) -> None:
    assert scan(make_video(tmp_path / "in.mkv", codec="ffv1")).lossless
    assert not scan(make_video(tmp_path / "in.avi", codec="mpeg4")).lossless


def test_interlaced_frames_are_counted(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mkv", options={"flags": "+ildct", "x264-params": "tff=1"})
    assert scan(source).interlaced == FRAMES


def test_files_that_are_no_video_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video\n" * 100)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    whole = make_video(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # its index is at the end
    with av.open(str(tmp_path / "sound.m4a"), "w") as output:
        stream: Any = output.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        frame.sample_rate = 48000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    for name, words in (
        ("text.mp4", "no video that can be read"),
        ("empty.mp4", "the file is empty"),
        ("folder.mp4", "a folder, not a video file"),
        ("cut.mp4", "no video that can be read"),
        ("sound.m4a", "there is no video in it, only sound"),
    ):
        with pytest.raises(VideoError, match=words) as raised:
            scan(tmp_path / name)
        assert name in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_file_that_names_others_does_not_get_them(tmp_path: Path) -> None:
    make_video(tmp_path / "in.ts")
    picture(tmp_path / "0.png")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nin.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "concat.txt").write_text("ffconcat version 1.0\nfile in.ts\n")
    for name in ("list.m3u8", "concat.txt"):
        with pytest.raises(VideoError):
            scan(tmp_path / name)


def test_names_are_names_and_no_addresses(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4")
    for name in ("concat:in.mp4", "-i.mp4", "a%03d.mp4", "é\n.mp4"):
        other = tmp_path / name
        other.write_bytes(source.read_bytes())
        assert len(scan(other).times) == FRAMES


def test_a_video_that_changes_its_size_is_refused(tmp_path: Path) -> None:
    first = make_video(tmp_path / "a.ts")
    second = make_video(tmp_path / "b.ts", moving_picture(height=48, width=64))
    (tmp_path / "in.ts").write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(VideoError, match=r"changes its size after frame \d+, from 32 x 24 to 64 x 48"):
        scan(tmp_path / "in.ts")


def test_frames_that_cannot_be_decoded_are_counted(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mov", codec="png", format="rgb24")
    data = bytearray(source.read_bytes())
    for place in (data.find(b"IDAT", start) for start in (1000, len(data) // 2)):
        data[place : place + 4] = b"IDAX"
    source.write_bytes(data)
    scanned = scan(source)
    assert scanned.damage
    assert len(scanned.times) < FRAMES


def test_what_comes_with_frames_and_is_left_out_is_known(tmp_path: Path) -> None:
    source = make_video(
        tmp_path / "in.mkv",
        codec="libx265",
        options={"x265-params": "log-level=error:max-cll=1000,400:master-display=G(1,1)B(1,1)R(1,1)WP(1,1)L(1,1)"},
    )
    assert scan(source).extras == (
        "what is said of the mastering display is",
        "what is said of the brightness is",
    )
