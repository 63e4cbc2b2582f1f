"""`bgai upscale --watch`, in its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from support import bgai_command, picture, save_repeating_graph

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Until something is so, for two minutes at most."""
    for _ in range(1200):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("waited in vain")


@contextmanager
def watching(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    save_repeating_graph(folder / "repeat.onnx", 0.0)
    command = [sys.executable, "-m", "bgai", "upscale", "--watch", "--scale", "2", "--weights", "repeat.onnx"]
    process = subprocess.Popen(
        [*command, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_pictures_are_enlarged_as_they_appear(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture(tmp_path / "in/there.png")
    with watching(tmp_path, "in", "-o", "out") as process:
        wait_for((tmp_path / "out/there.png").exists, process)
        data = picture(tmp_path / "whole.png").read_bytes()
        with (tmp_path / "in/new.png").open("wb") as file:
            file.write(data[:100])
            file.flush()
            file.write(data[100:])
        (tmp_path / "in/broken.png").write_bytes(b"no picture")
        wait_for((tmp_path / "out/new.png").exists, process)
        picture(tmp_path / "in/last.png")
        wait_for((tmp_path / "out/last.png").exists, process)
        process.send_signal(number)
        out, messages = process.communicate(timeout=120)
    assert process.returncode == 130
    assert sorted(out.split()) == ["out/last.png", "out/new.png", "out/there.png"]
    assert messages.startswith("watching in; Ctrl-C ends it\n")
    assert "in/broken.png" in messages
    assert messages.endswith("3 enlarged, 1 failed\nbgai: stopped; what was finished is kept\n")
    assert Image.open(tmp_path / "out/new.png").size == (36, 24)


def test_outputs_are_not_enlarged_again(tmp_path: Path) -> None:
    """Although they lie in the folder that is watched."""
    (tmp_path / "in").mkdir()
    picture(tmp_path / "in/a.png")
    with watching(tmp_path, "in", "-o", "in", "--name", "{stem}@{scale}x") as process:
        wait_for((tmp_path / "in/a@2x.png").exists, process)
        picture(tmp_path / "in/b.png")
        wait_for((tmp_path / "in/b@2x.png").exists, process)
        picture(tmp_path / "in/c.png")  # by which the outputs have been looked at
        wait_for((tmp_path / "in/c@2x.png").exists, process)
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=120)
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == sorted(
        f"{name}{end}.png" for name in "abc" for end in ("", "@2x")
    )
    assert "3 enlarged\n" in messages


def test_what_cannot_be_watched_is_one_line(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    result = bgai_command("upscale", "a.png", "--watch", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "bgai: a.png: not a folder, which alone can be watched (--watch)"
    for arguments in (["-", "--format", "png"], [".", "--dry-run"]):
        assert bgai_command("upscale", *arguments, "--watch", cwd=tmp_path).returncode == 1
