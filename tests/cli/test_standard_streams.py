"""Pictures from standard input and to standard output."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

from PIL import Image
from support import picture


def bgai(*arguments: str, given: bytes = b"", cwd: Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "bgai", "upscale", *arguments]
    return subprocess.run(command, input=given, capture_output=True, cwd=cwd, check=False)


def test_from_a_program_to_another_one(tmp_path: Path) -> None:
    data = picture(tmp_path / "a.png").read_bytes()
    result = bgai("-", "--format", "webp", "--scale", "2", given=data, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    enlarged = Image.open(io.BytesIO(result.stdout))
    assert (enlarged.format, enlarged.size) == ("WEBP", (36, 24))
    assert result.stderr == b"bgai weights: lossless PNG\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_one_of_the_streams_alone(tmp_path: Path) -> None:
    data = picture(tmp_path / "a.png").read_bytes()
    assert bgai("-", "-o", "b.png", "--factor", "1.5", given=data, cwd=tmp_path).returncode == 0
    assert Image.open(tmp_path / "b.png").size == (27, 18)
    to_stream = bgai("a.png", "-o", "-", "--format", "png", "--factor", "1.5", cwd=tmp_path)
    assert Image.open(io.BytesIO(to_stream.stdout)).tobytes() == Image.open(tmp_path / "b.png").tobytes()


def test_mistakes_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for arguments, given, message in (
        (("-",), b"", "choose one (--format)"),
        (("-", "a.png", "--format", "png"), b"", "for one picture alone"),
        (("-", "--format", "png", "--name", "{stem}"), b"", "know no --dry-run, --json, --name and --watch"),
        (("-", "--format", "png"), b"no picture", "bgai: standard input: not a picture of a kind"),
    ):
        result = bgai(*arguments, given=given, cwd=tmp_path)
        assert (result.returncode, result.stdout) == (1, b"")
        assert message in result.stderr.decode()
