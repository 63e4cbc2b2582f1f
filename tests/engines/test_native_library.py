"""The kernel of the engine native: compiled once, checked before it is loaded, and errors that say what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import NEEDS_COMPILER

from bgai.engines import native_library
from bgai.engines.native_library import load_library
from bgai.errors import EngineError

pytestmark = NEEDS_COMPILER
LOAD = (
    "import pathlib, sys; from bgai.engines.native_library import load_library; load_library(pathlib.Path(sys.argv[1]))"
)


@pytest.fixture(autouse=True)
def _as_a_new_process() -> Iterator[None]:
    native_library._load.cache_clear()
    yield
    native_library._load.cache_clear()


def the_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def test_it_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_library(tmp_path).memory_size(20, 30, 1) > 0
    native_library._load.cache_clear()
    monkeypatch.setattr(native_library, "_compile", lambda _: pytest.fail("compiled again"))
    load_library(tmp_path)
    the_file(tmp_path)


@pytest.mark.parametrize("keep", [0, 20, -1])
def test_a_damaged_one_is_compiled_anew(keep: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # Loaded by other processes alone: this one would crash where a file that it has mapped is cut off.
    subprocess.run([sys.executable, "-c", LOAD, tmp_path], check=True)
    whole = the_file(tmp_path).read_bytes()
    the_file(tmp_path).write_bytes(whole[:keep])
    load_library(tmp_path)
    assert "damaged, so the kernel is compiled anew" in caplog.text
    assert native_library._is_whole(the_file(tmp_path))


def test_without_a_folder_it_is_kept_nowhere(tmp_path: Path) -> None:
    assert load_library(None).memory_size(20, 30, 1) > 0
    (tmp_path / "file").touch()
    assert load_library(tmp_path / "file" / "folder").memory_size(20, 30, 1) > 0
    assert the_file(tmp_path).name == "file"


def test_processes_may_compile_at_the_same_time(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", LOAD, tmp_path]) for _ in range(3)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0, 0]
    assert native_library._is_whole(the_file(tmp_path))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("case $1 in --version) echo 4;; -march*) ;; *) echo 'a.cpp:1:2: error: no such flag' >&2; exit 1;; esac",
         r"g\+\+ cannot compile the engine native \(GCC 12 can\): a\.cpp:1:2: error: no such flag; choose"),
        ("exit 3", "cannot compile the engine native .*: code 3; choose the engine openvino"),
    ],
)  # fmt: skip
def test_a_compiler_that_fails(script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/g++").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bin/g++").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    with pytest.raises(EngineError, match=message) as error:
        load_library(tmp_path / "cache")
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "cache").iterdir())


def test_a_library_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_library, "_compile", lambda _: b"no library")
    with pytest.raises(EngineError, match=r"\.so: the engine native cannot be loaded: .*choose the engine openvino"):
        load_library(tmp_path)
