"""`bgai video` as a person uses it: in its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("av")

from support import bgai_command, save_repeating_graph
from video_support import FRAMES, frames_of, make_video, moving_picture, times_of

# Ends the process in the middle of the second segment.
STOPPED = """
import os, signal, sys
import bgai.video.files as files
from bgai.upscaling.upscaler import Upscaler
files.FRAMES = 5
number = getattr(signal, sys.argv.pop(1))
calls, upscale = [], Upscaler.upscale
def counted(self, image):
    calls.append(1)
    if len(calls) == 8:
        os.kill(os.getpid(), number)
    return upscale(self, image)
Upscaler.upscale = counted
from bgai.__main__ import main
main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a video, and weights that repeat pixels."""
    make_video(tmp_path / "in.mp4")
    save_repeating_graph(tmp_path / "repeat.onnx", 0.0)
    return tmp_path


def stopped(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", STOPPED, name, "video", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False, timeout=300)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "repeat.onnx")


def test_a_video_is_enlarged_beside_it(folder: Path) -> None:
    result = bgai_command("video", "in.mp4", "--scale", "2", cwd=folder)
    assert result.returncode == 0
    assert result.stdout == "in_x2.mp4\n"
    assert result.stderr == "in_x2.mp4  (photo weights: h264)\n12 frames\n"
    assert [frame.shape for frame in frames_of(folder / "in_x2.mp4")] == [(48, 64, 3)] * FRAMES
    assert times_of(folder / "in_x2.mp4") == times_of(folder / "in.mp4")
    assert names(folder) == ["in.mp4", "in_x2.mp4"]


def test_lossless_sources_get_the_weights_for_clean_pictures(folder: Path) -> None:
    make_video(folder / "clean.avi", moving_picture(2), codec="ffv1", format="bgr0")
    result = bgai_command("video", "clean.avi", "--scale", "2", cwd=folder)
    assert (result.returncode, result.stdout) == (0, "clean_x2.mkv\n")
    assert "(bgai weights: ffv1)" in result.stderr
    assert bgai_command("video", "clean.avi", "-o", "q.mkv", "--clean", "0.5", "-q", cwd=folder).stderr == ""


def test_equal_frames_are_counted(folder: Path) -> None:
    make_video(folder / "still.mkv", moving_picture(1) * 4, codec="ffv1", format="bgr0")
    result = bgai_command("video", "still.mkv", "--scale", "2", "--weights", "repeat.onnx", cwd=folder)
    assert result.stderr == "4 frames, 3 the same as the one before\n"


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_stopped_run_goes_on(name: str, folder: Path) -> None:
    arguments = ("in.mp4", "--scale", "2", "--weights", "repeat.onnx", "-o", "out.mp4", "--codec", "hevc")
    result = stopped(folder, name, *arguments)
    if name == "SIGKILL":
        assert result.returncode == -signal.SIGKILL
    else:
        assert (result.returncode, result.stderr) == (130, "bgai: stopped; what was finished is kept\n")
    assert not (folder / "out.mp4").exists()
    again = stopped(folder, "SIGKILL", *arguments)  # which has seven frames left, and does not come to the eighth
    assert (again.returncode, again.stderr) == (0, "12 frames, 5 finished before\n")
    assert stopped(folder, "SIGTERM", *arguments[:-3], "whole.mp4", "--codec", "hevc").returncode == 130
    assert stopped(folder, "SIGTERM", *arguments[:-3], "whole.mp4", "--codec", "hevc").returncode == 0
    assert (folder / "out.mp4").read_bytes() == (folder / "whole.mp4").read_bytes()
    assert names(folder) == ["in.mp4", "out.mp4", "whole.mp4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.mp4"], "missing.mp4: cannot be read: No such file or directory"),
        (["."], ".: a folder, not a video file"),
        (["text.mp4"], "text.mp4: no video that can be read: invalid data found when processing input"),
        (
            ["in.mp4", "-o", "in.mp4"],
            "in.mp4: exists already; choose another output or allow overwriting (--overwrite)",
        ),
        (
            ["in.mp4", "-o", "in.mp4", "--overwrite"],
            "in.mp4: would replace its original; choose another output (--output)",
        ),
        (
            ["in.mp4", "-o", "a.gif"],
            "a.gif: expected a name that ends in .mp4, .m4v, .mov, .mkv, .webm (--output)",
        ),
        (["in.mp4", "--crf", "99"], "crf 99: expected 0 to 51 for h264 (--crf)"),
        (
            ["in.mp4", "-o", "a.mp4", "--codec", "prores"],
            "a.mp4: such a file cannot hold prores; choose another codec or an output named .mkv (--codec)",
        ),
        (["in.mp4", "--weights", "none.pth"], "none.pth"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: list[str], message: str, folder: Path) -> None:
    (folder / "text.mp4").write_text("not a video\n" * 20)
    before = names(folder)
    result = bgai_command("video", *arguments, cwd=folder)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"bgai: {message}")
    assert result.stderr.count("\n") == 1
    assert names(folder) == before


def test_without_the_extra_the_error_names_it(folder: Path) -> None:
    code = "import sys; sys.modules['av'] = None; from bgai.__main__ import main; main(['video', 'in.mp4'])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 1
    assert result.stderr == "bgai: bgai video needs the extra 'video': install it with  pip install 'bgai[video]'\n"
