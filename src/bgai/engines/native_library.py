"""The compiled kernel of the engine `native`: made by g++ for this processor when it is first needed, and kept on disk.

A library on disk ends with the SHA-256 of all before it, and is used only if that is right: a damaged one could crash
the process or give wrong pixels. Its name is made of all that it depends on.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bgai.atomic_files import make_folder, whole_or_nothing
from bgai.errors import EngineError

SOURCE = Path(__file__).with_name("network.cpp")
# The kernel rounds by adding a large number, so sums must stay in their order: no -ffast-math.
FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-pthread", "-shared", "-fPIC"),
    *("-ffinite-math-only", "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno"),
)
_DIGEST_BYTES = 32
_OTHERWISE = "choose the engine openvino, which needs no compiler"

log = logging.getLogger(__name__)
_loading = threading.Lock()


def find_compiler() -> str:
    """The path of g++.

    Raises:
        EngineError: It is not installed, or this is not Linux.
    """
    if sys.platform != "linux":
        raise EngineError(f"the engine native runs on Linux alone; {_OTHERWISE}", parameter="engine")
    compiler = shutil.which("g++")
    if compiler is None:
        raise EngineError(
            f"the engine native has to be compiled, and g++ was not found: install the package g++ or gcc-c++, or"
            f" {_OTHERWISE}",
            parameter="engine",
        )
    return compiler


def load_library(cache: Path | None) -> ctypes.CDLL:
    """Load the kernel, and compile it first where that is needed, which takes some seconds.

    Args:
        cache: The folder where it is kept; None keeps it nowhere.

    Raises:
        EngineError: g++ is not there or does not compile it, or the library cannot be loaded.
        OutputError: The library cannot be written to the folder.
    """
    with _loading:
        return _load(cache)


@functools.cache
def _load(cache: Path | None) -> ctypes.CDLL:
    compiler = find_compiler()
    with ExitStack() as stack:
        folder = make_folder(cache) if cache else None
        folder = folder or Path(stack.enter_context(_temporary_folder()))
        file = folder / f"{_key(compiler)}.so"
        if not _is_whole(file):
            library = _compile(compiler)
            with whole_or_nothing(file) as partial:
                partial.write_bytes(library + hashlib.sha256(library).digest())
        return _open(file)


def _key(compiler: str) -> str:
    """A name for the library, of the source, the flags, the compiler, and the processor as the compiler sees it."""
    version, target = _run([compiler, "--version"]), _run([compiler, "-march=native", "-Q", "--help=target"])
    parts = [SOURCE.read_bytes(), " ".join(FLAGS).encode(), version.encode(), target.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def _is_whole(file: Path) -> bool:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return False
    except OSError as error:
        log.warning("%s: cannot be read, so the kernel is compiled anew: %s", file, error.strerror or error)
        return False
    if hashlib.sha256(content[:-_DIGEST_BYTES]).digest() == content[-_DIGEST_BYTES:]:
        return True
    log.warning("%s: damaged, so the kernel is compiled anew", file)
    return False


def _compile(compiler: str) -> bytes:
    with _temporary_folder() as folder:
        library = Path(folder, "library.so")
        _run([compiler, *FLAGS, "-o", str(library), str(SOURCE)])
        return library.read_bytes()


def _run(command: Sequence[str]) -> str:
    """What a command of the compiler writes.

    Raises:
        EngineError: It fails.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        result = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False, errors="replace"
        )
    except OSError as error:
        raise EngineError(
            f"{command[0]}: cannot be run: {error.strerror or error}; {_OTHERWISE}", parameter="engine"
        ) from error
    if result.returncode == 0:
        return result.stdout
    lines = result.stderr.splitlines()
    reason = next((line for line in lines if "error" in line), lines[-1] if lines else f"code {result.returncode}")
    raise EngineError(
        f"{command[0]} cannot compile the engine native (GCC 12 can): {reason[:300]}; {_OTHERWISE}", parameter="engine"
    )


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="bgai-")
    except OSError as error:
        raise EngineError(f"the engine native cannot be compiled: no temporary folder: {error}") from error


def _open(file: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(file))
    except OSError as error:
        raise EngineError(f"{file}: the engine native cannot be loaded: {error}; {_OTHERWISE}") from error
    library.network.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 4, *[ctypes.c_int] * 2, ctypes.c_bool, ctypes.c_int]
    library.network.restype = None
    library.memory_size.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_bool, ctypes.c_int]
    library.memory_size.restype = library.weights_size.restype = ctypes.c_long
    library.weights_size.argtypes = [ctypes.c_int]
    return library
