"""Outputs appear whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bgai.atomic_files import make_folder, whole_or_nothing
from bgai.errors import OutputError


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_finished_output_appears_with_the_usual_permissions(tmp_path: Path) -> None:
    target, plain = tmp_path / "new" / "a.txt", tmp_path / "plain"
    with whole_or_nothing(target) as partial:
        partial.write_text("all")
        assert not target.exists()
    plain.touch()
    assert target.read_text() == "all"
    assert target.stat().st_mode == plain.stat().st_mode
    assert names(target.parent) == ["a.txt"]


def test_a_failed_output_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ValueError, match="stop"), whole_or_nothing(target) as partial:
        partial.write_text("half")
        raise ValueError("stop")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(OutputError, match="exists already"), whole_or_nothing(target, overwrite=False):
        pass
    assert target.read_text() == "old"


def test_nothing_that_appears_meanwhile_is_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with pytest.raises(OutputError, match="exists already"), whole_or_nothing(target, overwrite=False) as partial:
        partial.write_text("mine")
        target.write_text("another's")
    assert target.read_text() == "another's"
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from bgai.errors import OutputError
from bgai.atomic_files import whole_or_nothing
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with whole_or_nothing(Path(sys.argv[1])) as partial:
        partial.write_bytes(bytes(5000))
except OutputError as error:
    print(error)
"""
    target = tmp_path / "a.bin"
    result = subprocess.run([sys.executable, "-c", code, target], capture_output=True, text=True, check=True)
    assert "cannot be written" in result.stdout
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert make_folder(tmp_path / "file" / "folder") is None
    assert make_folder(tmp_path / "folder") == tmp_path / "folder"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from bgai.atomic_files import whole_or_nothing
with whole_or_nothing(Path(sys.argv[1])) as partial:
    Path(f"{partial}.raw").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    target = tmp_path / "a [1].png"
    subprocess.run([sys.executable, "-c", code, target], check=False)
    assert len(names(tmp_path)) == 2
    running = tmp_path / f".a [1].png.{os.getppid()}.partial"
    running.touch()
    with whole_or_nothing(target) as partial:
        partial.write_text("whole")
    assert sorted(names(tmp_path)) == sorted(["a [1].png", running.name])


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made a folder"), whole_or_nothing(tmp_path / "file" / "a.png"):
        pass


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), whole_or_nothing(tmp_path / ("a" * 250)):
        pass
