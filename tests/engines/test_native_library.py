"""The library of the engine native: compiled once, checked before it is loaded, and reasons why it is not there."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support import NEEDS_COMPILER, texture

from bgai.engines import native_library
from bgai.engines.base import Rgb8Engine
from bgai.engines.native_build import LEVELS, compile_library, find_compiler, level_here
from bgai.engines.native_library import load_library, reason_against
from bgai.engines.selection import PRECISIONS, open_engine
from bgai.errors import EngineError
from bgai.types import Precision
from bgai.weights.sources import find_weights

pytestmark = NEEDS_COMPILER
LOAD = (
    "import pathlib, sys; from bgai.engines.native_library import load_library; load_library(pathlib.Path(sys.argv[1]))"
)


@functools.cache
def compiled(level: str) -> bytes:
    return compile_library(level, find_compiler())


@pytest.fixture(autouse=True)
def _as_a_new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whose compiler is quick."""
    monkeypatch.setattr(native_library, "compile_library", lambda level, _: compiled(level))
    forget()
    yield
    forget()


def forget() -> None:
    native_library._load.cache_clear()
    reason_against.cache_clear()


def the_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def test_it_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(load_library(tmp_path), ctypes.CDLL)
    forget()
    monkeypatch.setenv("PATH", "")  # one that is kept needs no compiler
    monkeypatch.setattr(native_library, "compile_library", lambda *_: pytest.fail("compiled again"))
    load_library(tmp_path)
    assert reason_against(tmp_path) is None
    assert the_file(tmp_path).name.startswith(f"{level_here()}-")


def test_other_sources_and_flags_have_other_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = {native_library._name("x86-64-v3"), native_library._name("x86-64-v4")}
    monkeypatch.setattr(native_library, "FLAGS", ("-O1",))
    names.add(native_library._name("x86-64-v4"))
    (tmp_path / "a.cpp").touch()
    monkeypatch.setattr(native_library, "SOURCE", tmp_path / "a.cpp")
    names.add(native_library._name("x86-64-v4"))
    assert len(names) == 4


@pytest.mark.parametrize("keep", [0, 20, -1])
def test_a_damaged_one_is_compiled_anew(keep: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / native_library._name(level_here())
    file.write_bytes((compiled(level_here()) + hashlib.sha256(compiled(level_here())).digest())[:keep])
    load_library(tmp_path)
    assert "damaged, so the kernel is compiled anew" in caplog.text
    assert native_library._is_whole(the_file(tmp_path))


def test_without_a_folder_it_is_kept_nowhere(tmp_path: Path) -> None:
    assert isinstance(load_library(None), ctypes.CDLL)
    (tmp_path / "file").touch()
    assert isinstance(load_library(tmp_path / "file" / "folder"), ctypes.CDLL)
    assert the_file(tmp_path).name == "file"


def test_processes_may_compile_at_the_same_time(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", LOAD, tmp_path]) for _ in range(2)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    assert native_library._is_whole(the_file(tmp_path))


def test_the_one_in_the_package_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package").mkdir()
    monkeypatch.setattr(native_library, "_PACKAGED", tmp_path / "package")
    (tmp_path / "package" / f"{level_here()}.so").write_bytes(compiled(level_here()))
    monkeypatch.setenv("PATH", "")
    assert reason_against(tmp_path / "cache") is None
    assert load_library(tmp_path / "cache")._name == str(tmp_path / "package" / f"{level_here()}.so")
    assert not (tmp_path / "cache").exists()


def test_a_library_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an ELF file, as little as one of another libc, or one on a file system that forbids to run programs."""
    monkeypatch.setattr(native_library, "compile_library", lambda *_: b"no library")
    with pytest.raises(EngineError, match=r"\.so: the engine native cannot be loaded: .*choose the engine openvino"):
        load_library(tmp_path)
    assert "the engine native cannot be loaded" in (reason_against(tmp_path) or "")


def test_reasons_against_it_are_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def fail(*_: object) -> bytes:
        tries.append(1)
        raise EngineError("g++ fails; choose the engine openvino, which needs no compiler")

    monkeypatch.setattr(native_library, "compile_library", fail)
    assert reason_against(tmp_path) == reason_against(tmp_path) == "g++ fails"
    assert len(tries) == 1
    with pytest.raises(EngineError, match="g\\+\\+ fails; choose"):
        load_library(tmp_path)
    assert len(tries) == 2
    forget()
    monkeypatch.setenv("PATH", "")
    reason = "the engine native has to be compiled, and g++ was not found: install the package g++ or gcc-c++"
    assert reason_against(tmp_path) == reason


def test_one_that_cannot_be_kept_is_not_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(native_library, "compile_library", lambda *_: pytest.fail("compiled"))
    folder = tmp_path / "file" / "folder"
    assert reason_against(folder) == f"{folder}: the compiled engine native cannot be kept there"


def test_one_in_a_folder_that_cannot_be_written_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_library(tmp_path)
    forget()
    monkeypatch.setattr(native_library, "make_folder", lambda _: None)
    monkeypatch.setenv("PATH", "")
    assert reason_against(tmp_path) is None


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_picture_is_the_same_on_every_processor(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = np.random.default_rng(0).random((1, 3, 37, 170), np.float32)
    levels = list(LEVELS[platform.machine()])
    results = []
    for level in levels[levels.index(level_here()) :]:
        monkeypatch.setattr(native_library, "level_here", functools.partial(str, level))
        forget()
        engine = open_engine(find_weights(None, 4), "native", precision=precision)
        assert isinstance(engine, Rgb8Engine)
        results.append((engine(tiles), engine.enlarge_rgb8(texture(37, 170))))
    for planes, pixels in results[1:]:
        np.testing.assert_array_equal(planes, results[0][0])
        np.testing.assert_array_equal(pixels, results[0][1])
