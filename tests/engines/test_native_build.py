"""How the library of the engine native is compiled: the level that a processor runs, the compiler, and its failures."""

from __future__ import annotations

import platform
import sys
import time
from pathlib import Path

import pytest
from support import NEEDS_COMPILER

from bgai.engines import native_build
from bgai.engines.native_build import LEVELS, best_level, compile_library, find_compiler, level_here
from bgai.errors import EngineError

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the engine native runs on Linux alone")
V2 = "fpu sse sse2 cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 xsave"
V3 = f"{V2} abm avx avx2 bmi1 bmi2 f16c fma movbe"
V4 = f"{V3} avx512f avx512bw avx512cd avx512dq avx512vl"


@pytest.mark.parametrize(
    ("machine", "features", "level"),
    [
        ("x86_64", V4, "x86-64-v4"),
        ("x86_64", V4.replace("avx512vl", ""), "x86-64-v3"),  # Xeon Phi
        ("x86_64", V3, "x86-64-v3"),
        ("x86_64", V3.replace("bmi2", ""), None),
        ("x86_64", V3.replace("fma", ""), None),
        ("x86_64", V2, None),
        ("x86_64", "", None),
        ("aarch64", "fp asimd evtstrm", "armv8-a"),
        ("aarch64", "fp", None),
        ("riscv64", V4, None),
        ("i686", V4, None),
    ],
)
def test_the_best_level(machine: str, features: str, level: str | None) -> None:
    assert best_level(machine, features.split()) == level


@needs_linux
def test_a_processor_without_a_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_build, "features_here", lambda: ["sse2"])
    with pytest.raises(EngineError, match=r"needs a processor with AVX2, or .*; choose the engine openvino$"):
        level_here()


def test_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(EngineError, match="the engine native runs on Linux alone; choose the engine openvino"):
        level_here()


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2\nvmx flags\t: ept\n\nprocessor\t: 1\nflags\t\t: fpu\n", ["fpu", "avx2"]),
        ("processor\t: 0\nFeatures\t: fp asimd\n", ["fp", "asimd"]),
        ("processor\t: 0\n", []),
        (None, []),
    ],
)
def test_features_of_the_processor(text: str | None, features: list[str], tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert native_build.features_here(tmp_path / "cpuinfo") == features


@needs_linux
def test_a_missing_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"g\+\+ was not found: install .*; or choose the engine openvino"):
        find_compiler()


def compiler(folder: Path, script: str) -> str:
    file = folder / "g++"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


@needs_linux
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'In file' >&2; echo 'a.cpp:1:2: error: no such flag' >&2; exit 1",
         r"g\+\+ cannot compile the engine native \(GCC 12 can\): a\.cpp:1:2: error: no such flag; choose"),
        ("exit 3", r"g\+\+ cannot compile the engine native .*: code 3; choose the engine openvino"),
    ],
)  # fmt: skip
def test_a_compiler_that_fails(script: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=message) as error:
        compile_library("x86-64-v3", compiler(tmp_path, script))
    assert "\n" not in str(error.value)


@needs_linux
def test_a_compiler_that_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "g++").write_text("#!/nowhere\n")
    with pytest.raises(EngineError, match=r"g\+\+: cannot be run: Permission denied; choose the engine openvino"):
        compile_library("x86-64-v3", str(tmp_path / "g++"))


@needs_linux
def test_a_compiler_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that it has started holds its outputs open, and is ended too."""
    monkeypatch.setattr(native_build, "_MOST_SECONDS", 0.5)
    program = f"sleep 120 & echo $! > {tmp_path}/pid; wait"
    begun = time.monotonic()
    with pytest.raises(EngineError, match=r"has not compiled the engine native in 0\.5 seconds; choose"):
        compile_library("x86-64-v3", compiler(tmp_path, program))
    assert time.monotonic() - begun < 60
    if (tmp_path / "pid").exists():  # a busy machine may not have come so far
        process = Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")
        assert not process.exists() or process.read_text().split()[2] == "Z"


@NEEDS_COMPILER
def test_every_level_of_this_architecture_is_compiled() -> None:
    for level in LEVELS[platform.machine()]:
        assert compile_library(level, find_compiler()).startswith(b"\x7fELF")
