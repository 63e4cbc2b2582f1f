"""Standard output and error that are closed, full, or of another encoding: the work goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import bgai_command, picture

BGAI = [sys.executable, "-m", "bgai"]
posix = pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")


def shell(line: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as `"$@"` of a line of shell."""
    command = ["sh", "-c", line, "sh", *BGAI, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8", check=False)


@full_device
@pytest.mark.parametrize("arguments", [["--version"], ["info"]], ids=str)
def test_a_terminal_that_takes_nothing_is_one_clear_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        result = subprocess.run([*BGAI, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "bgai: standard output: cannot be written: No space left on device\n"


@posix
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_matter(closed: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    result = shell(f'"$@" {closed}', "upscale", "a.png", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert sorted(os.listdir(tmp_path)) == ["a.png", "a_x4.png"]  # noqa: PTH208
    assert "Traceback" not in result.stderr


@posix
def test_without_buffers(tmp_path: Path) -> None:
    result = bgai_command("--version", cwd=tmp_path, PYTHONUNBUFFERED="1")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("bgai ")


@posix
def test_a_reader_that_has_enough_does_not_stop_the_work(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        picture(folder / f"{name}.png")
    result = shell('{ "$@"; echo $? >code; } | head -c 1', "upscale", "in", "-o", "out", cwd=tmp_path)
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert (tmp_path / "code").read_text(encoding="utf-8") == "0\n"
    assert "3 enlarged" in result.stderr


@full_device
def test_a_full_disk_behind_standard_output_does_not_stop_the_work(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        picture(folder / f"{name}.png")
    result = shell('"$@" >/dev/full', "upscale", "in", "-o", "out", cwd=tmp_path)
    assert len(list((tmp_path / "out").iterdir())) == 3, (result.returncode, result.stderr)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "bgai: standard output: cannot be written: No space left on device"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_characters_that_the_encoding_lacks_become_escapes(encoding: str, tmp_path: Path) -> None:
    picture(tmp_path / "→é.png")
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "80"}

    def run(*arguments: str) -> tuple[str, str]:
        result = subprocess.run(
            [*BGAI, *arguments], cwd=tmp_path, capture_output=True, env=environment, encoding=encoding, check=False
        )
        assert "Traceback" not in result.stderr
        return result.stdout, result.stderr

    shown = "→é".encode(encoding, "backslashreplace").decode(encoding)
    names, messages = run("upscale", "→é.png")
    assert names == f"{shown}_x4.png\n"
    assert f"{shown}_x4.png  (bgai weights: lossless PNG)" in messages
    picture(tmp_path / "→é_x4.png")  # which bgai did not make
    _, messages = run("upscale", "→é.png")
    assert f"bgai: {shown}_x4.png: exists already" in messages
    listed, _ = run("weights")
    assert "bgai " + "×4".encode(encoding, "backslashreplace").decode(encoding) in listed
    explained, _ = run("upscale", "--help")
    assert "--device" in explained


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text on other systems")
def test_a_name_that_is_no_text_is_escaped(tmp_path: Path) -> None:
    for arguments in (["upscale"], ["weights"]):
        result = bgai_command(*arguments, os.fsdecode(b"caf\xe9.png"), cwd=tmp_path)
        assert result.returncode == 1
        assert result.stderr.startswith("bgai: ")
        assert "caf\\udce9.png" in result.stderr


def test_control_characters_in_names_are_escaped(tmp_path: Path) -> None:
    result = bgai_command("upscale", "a\x1b[31m.png", cwd=tmp_path)
    assert result.stderr.startswith("bgai: a\\x1b[31m.png: cannot be read")


def test_an_error_of_several_lines_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("name: x\n", encoding="utf-8")
    result = bgai_command("test", "-opt", "a.yml", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("bgai: a.yml:1: expected 'scale' here\na.yml:1: ")
