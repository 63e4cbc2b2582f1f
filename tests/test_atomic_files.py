"""Outputs appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bgai import atomic_files
from bgai.atomic_files import make_folder, remove_leftovers, set_aside, whole_folder, whole_or_nothing
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


KILLED = """
import os, signal, sys
from pathlib import Path
from bgai.atomic_files import whole_folder, whole_or_nothing
with {lend}(Path(sys.argv[1])) as partial:
    {write}
    os.kill(os.getpid(), signal.SIGKILL)
"""
KILLED_AT_A_FILE = KILLED.format(lend="whole_or_nothing", write="partial.write_text('half')")
KILLED_AT_A_FOLDER = KILLED.format(lend="whole_folder", write="(partial / 'a').write_text('half')")


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
@pytest.mark.parametrize(("code", "left"), [(KILLED_AT_A_FILE, 1), (KILLED_AT_A_FOLDER, 2)], ids=["file", "folder"])
def test_what_a_killed_process_left_is_removed(code: str, left: int, tmp_path: Path) -> None:
    target = tmp_path / "a [1].png"
    subprocess.run([sys.executable, "-c", code, target], check=False)
    assert len(names(tmp_path)) == left
    with whole_or_nothing(target) as partial:
        assert partial.read_bytes() == b""
        partial.write_text("whole")
    assert names(tmp_path) == ["a [1].png"]
    assert target.read_text() == "whole"


RUNNING = """
import sys
from pathlib import Path
from bgai.atomic_files import whole_folder, whole_or_nothing
with whole_or_nothing(Path(sys.argv[1])) as file, whole_folder(Path(sys.argv[2])) as folder:
    file.write_text("its own")
    (folder / "a").write_text("its own")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUNNING, str(tmp_path / "theirs"), str(tmp_path / "their folder")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    remove_leftovers(tmp_path)
    with whole_or_nothing(tmp_path / "ours") as partial:
        partial.write_text("ours")
    process.communicate()
    assert sorted(names(tmp_path)) == ["ours", "their folder", "theirs"]
    assert (tmp_path / "theirs").read_text() == (tmp_path / "their folder/a").read_text() == "its own"


def test_two_outputs_of_one_name_never_share_a_partial_file(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with whole_or_nothing(target) as one, whole_or_nothing(target) as other:
        remove_leftovers(tmp_path)
        one.write_text("one")
        assert other.read_text() == ""
        other.write_text("other")
    assert target.read_text() == "one"  # the last to finish
    assert names(tmp_path) == ["a"]


def test_a_file_that_is_there_is_never_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one of the same random name."""
    with whole_or_nothing(tmp_path / "first"):
        pass
    there = tmp_path / f".bgai-{bytes(8).hex()}.partial"
    there.write_text("another's")
    bits = iter([bytes(8), b"12345678"])
    monkeypatch.setattr(os, "urandom", lambda _: next(bits))
    with whole_or_nothing(tmp_path / "a") as partial:
        assert partial != there
    assert there.read_text() == "another's"


def test_a_folder_is_searched_for_leftovers_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[Path] = []
    monkeypatch.setattr(atomic_files, "remove_leftovers", searched.append)
    for name in ("a", "b", "new/c", "new/d"):
        with whole_or_nothing(tmp_path / name):
            pass
    assert searched == [tmp_path, tmp_path / "new"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputError, match="cannot be written: Is a directory"), whole_or_nothing(tmp_path / "a"):
        raise AssertionError("work is done that cannot be kept")


@pytest.mark.skipif(os.name == "nt", reason="files are locked by being open there")
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs appear all the same, and nothing is taken for a leftover."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    attempts = iter([bytes(8)])  # a second one would be an error
    monkeypatch.setattr(os, "urandom", lambda _: next(attempts))
    monkeypatch.setattr("fcntl.flock", refuse)
    with whole_or_nothing(tmp_path / "a") as partial:
        remove_leftovers(tmp_path)
        partial.write_text("whole")
    assert (tmp_path / "a").read_text() == "whole"


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    with whole_or_nothing(tmp_path / "a", overwrite=False) as partial:
        partial.write_text("whole")
    with pytest.raises(OutputError, match="exists already"), whole_or_nothing(tmp_path / "b", False) as partial:
        (tmp_path / "b").write_text("another's")
    assert (tmp_path / "a").read_text() == "whole"
    assert (tmp_path / "b").read_text() == "another's"
    assert sorted(names(tmp_path)) == ["a", "b"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a"
    with pytest.raises(ValueError, match="stop"), whole_folder(target) as partial:
        (partial / "half").touch()
        raise ValueError("stop")
    assert names(target.parent) == []
    with whole_folder(target) as partial:
        (partial / "whole").touch()
        assert not target.exists()
    assert names(target.parent) == ["a"]
    assert names(target) == ["whole"]
    with pytest.raises(OutputError, match="a: exists already; remove it"), whole_folder(target):
        raise AssertionError("work is done that cannot be kept")


def test_a_folder_whose_name_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), whole_folder(tmp_path / ("a" * 256)):
        pass
    assert names(tmp_path) == []


def test_a_folder_of_the_same_name_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/kept").touch()
    set_aside(tmp_path / "a")
    (aside,) = tmp_path.iterdir()
    assert re.fullmatch(r"a_archived_\d{8}_\d{6}", aside.name)
    assert names(aside) == ["kept"]
    with pytest.raises(OutputError, match="a: earlier results cannot be renamed: No such file"):
        set_aside(tmp_path / "a")


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made a folder"), whole_or_nothing(tmp_path / "file" / "a.png"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="the whole path is limited there")
def test_a_name_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    with whole_or_nothing(tmp_path / ("a" * 255)) as partial:
        partial.touch()
    assert names(tmp_path) == ["a" * 255]


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), whole_or_nothing(tmp_path / ("a" * 256)):
        raise AssertionError("work is done that cannot be kept")


@pytest.mark.skipif(sys.platform == "win32", reason="no claims there")
def test_a_claim_is_held_by_one_process_and_ends_with_it(tmp_path: Path) -> None:
    target = tmp_path / "new/a.png"
    with atomic_files.claimed(target) as ours, atomic_files.claimed(target) as theirs:
        assert (ours, theirs) == (True, False)
        with atomic_files.claimed(tmp_path / "new/b.png") as other:
            assert other
    assert list(target.parent.iterdir()) == []
    code = (
        "import os, pathlib; from bgai.atomic_files import claimed\n"
        f"with claimed(pathlib.Path({str(target)!r})): os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(list(target.parent.iterdir())) == 1
    with atomic_files.claimed(target) as ours:
        assert ours
    assert list(target.parent.iterdir()) == []
