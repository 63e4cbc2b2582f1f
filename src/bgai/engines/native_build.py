"""How the library of the engine `native` is compiled by g++: once for each level of instruction sets.

A wheel for Linux holds the libraries of its architecture; its build imports this module, which needs the standard
library alone.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from bgai.errors import EngineError

SOURCE = Path(__file__).with_name("network.cpp")
# The kernel rounds by adding a large number, so sums must stay in their order: no -ffast-math. And it says itself where
# a product and a sum are one operation.
FLAGS = (
    *("-std=c++17", "-O3", "-pthread", "-shared", "-fPIC", "-ffp-contract=off"),
    *("-ffinite-math-only", "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno"),
)
# For other machines: the library needs glibc alone, and hides what it holds of the C++ libraries.
STANDALONE = ("-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL", "-Wl,--gc-sections", "-s")
_OTHERWISE = "choose the engine openvino, which needs no compiler"

_V3 = frozenset(
    "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 abm avx avx2 bmi1 bmi2 f16c fma movbe xsave".split()  # noqa: SIM905
)
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
LEVELS = {
    "x86_64": {"x86-64-v4": _V4, "x86-64-v3": _V3},
    "aarch64": {"armv8-a": frozenset({"fp", "asimd"})},
}
"""Levels of each architecture as g++ names them, the best one first, with all that they imply in Linux's names."""
_MOST_SECONDS = 120
"""For compiling, which takes some seconds, or ten times that on a small and busy machine."""


def best_level(machine: str, features: Collection[str]) -> str | None:
    """The best level that a processor runs; None if it runs none.

    Args:
        machine: Its architecture, as in `LEVELS`.
        features: Its instruction sets, as `/proc/cpuinfo` names them.
    """
    levels = LEVELS.get(machine, {})
    return next((level for level, implied in levels.items() if implied <= set(features)), None)


def level_here() -> str:
    """The best level that this machine runs.

    Raises:
        EngineError: It runs none, or this is not Linux.
    """
    if sys.platform != "linux":
        raise EngineError("the engine native runs on Linux alone; choose the engine openvino", parameter="engine")
    is_64_bit = sys.maxsize > 2**32  # this Python, whatever the system is
    level = best_level(platform.machine(), features_here()) if is_64_bit else None
    if level is None:
        raise EngineError(
            "the engine native needs a processor with AVX2, or one of ARM's with 64 bits; choose the engine openvino",
            parameter="engine",
        )
    return level


def features_here(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """The instruction sets of the first processor, all of which are alike, that the system lets programs use."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    entries = (line.partition(":") for line in lines)
    return next((value.split() for name, _, value in entries if name.strip() in ("flags", "Features")), [])


def find_compiler() -> str:
    """The path of g++.

    Raises:
        EngineError: It is not installed.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise EngineError(
            "the engine native has to be compiled, and g++ was not found: install the package g++ or gcc-c++; or"
            f" {_OTHERWISE}",
            parameter="engine",
        )
    return compiler


def compile_library(level: str, compiler: str, options: Sequence[str] = ()) -> bytes:
    """The library for a level.

    Args:
        level: One of `LEVELS`.
        compiler: The path of a g++ for its architecture.
        options: More options of the compiler, such as `STANDALONE`.

    Raises:
        EngineError: The compiler fails, or there is no folder for its output.
    """
    with temporary_folder() as folder:
        library = Path(folder, "library.so")
        _run([compiler, *FLAGS, f"-march={level}", *options, "-o", str(library), str(SOURCE)])
        return library.read_bytes()


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A new folder, which is removed in the end.

    Raises:
        EngineError: There is no place for it.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="bgai-")
    except OSError as error:
        raise EngineError(f"the engine native cannot be compiled: no temporary folder: {error}") from error


def _run(command: Sequence[str]) -> None:
    """Run the compiler.

    Raises:
        EngineError: It fails, or does not end.
    """
    try:
        process = subprocess.Popen(
            command,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise EngineError(
            f"{command[0]}: cannot be run: {error.strerror or error}; {_OTHERWISE}", parameter="engine"
        ) from error
    with process:
        try:
            _, errors = process.communicate(timeout=_MOST_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise EngineError(
                f"{command[0]} has not compiled the engine native in {_MOST_SECONDS} seconds; {_OTHERWISE}",
                parameter="engine",
            ) from error
        finally:
            if process.returncode is None:  # Ctrl-C too: the compiler goes, with the programs that it has started
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        lines = errors.splitlines()
        code = f"code {process.returncode}"
        reason = next((line for line in lines if "error" in line), lines[-1] if lines else code)
        raise EngineError(
            f"{command[0]} cannot compile the engine native (GCC 12 can): {reason[:300]}; {_OTHERWISE}",
            parameter="engine",
        )
