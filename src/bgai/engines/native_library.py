"""The compiled library of the engine `native`: from the package, or compiled for this processor and kept on disk.

A library on disk ends with the SHA-256 of all before it, and is used only if that is right: a damaged one could crash
the process or give wrong pixels. Its name is made of all that its results depend on.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import re
import threading
from contextlib import ExitStack
from pathlib import Path

from bgai.atomic_files import make_folder, whole_or_nothing
from bgai.engines.native_build import FLAGS, SOURCE, compile_library, find_compiler, level_here, temporary_folder
from bgai.errors import BgaiError, EngineError

_PACKAGED = Path(__file__).with_name("libraries")
_DIGEST_BYTES = 32
_OTHERWISE = "choose the engine openvino"

log = logging.getLogger(__name__)
_loading = threading.Lock()


def load_library(cache: Path | None, must_keep: bool = False) -> ctypes.CDLL:
    """Load the library, and compile it first where that is needed, which takes some seconds.

    Args:
        cache: The folder where a compiled one is kept; None keeps it nowhere.
        must_keep: Whether one that cannot be kept is an error, for each process would compile it anew.

    Raises:
        EngineError: This machine cannot run it, g++ is not there or does not compile it, or it cannot be loaded.
        OutputError: The library cannot be written to the folder.
    """
    with _loading:
        return _load(cache, must_keep)


@functools.cache
def reason_against(cache: Path) -> str | None:
    """Why this process does without the engine `native` unless it is asked for; None if the library is loaded.

    Args:
        cache: As for `load_library`.
    """
    try:
        load_library(cache, must_keep=True)
    except BgaiError as error:
        return re.split("; (?:or )?choose the engine", str(error))[0]
    return None


def packaged_library() -> Path:
    """The library for this machine in the package; only wheels for Linux hold it.

    Raises:
        EngineError: This machine cannot run any.
    """
    return _PACKAGED / f"{level_here()}.so"


@functools.cache
def _load(cache: Path | None, must_keep: bool) -> ctypes.CDLL:
    if packaged_library().exists():
        return open_library(packaged_library())
    level = level_here()
    if cache and _is_whole(cache / _name(level)):
        return open_library(cache / _name(level))
    with ExitStack() as stack:
        folder = make_folder(cache) if cache else None
        if must_keep and folder is None:
            raise EngineError(f"{cache}: the compiled engine native cannot be kept there")
        file = (folder or Path(stack.enter_context(temporary_folder()))) / _name(level)
        compiler = find_compiler()
        log.info("the engine native is compiled for %s, which takes some seconds", level)
        library = compile_library(level, compiler)
        with whole_or_nothing(file) as partial:
            partial.write_bytes(library + hashlib.sha256(library).digest())
        return open_library(file)


def _name(level: str) -> str:
    """The library's file, by its source and flags: one that is kept needs no compiler any more."""
    content = SOURCE.read_bytes() + " ".join(FLAGS).encode()
    return f"{level}-{hashlib.sha256(content).hexdigest()[:32]}.so"


def _is_whole(file: Path) -> bool:
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        log.warning("%s: cannot be read, so the kernel is compiled anew: %s", file, error.strerror or error)
        return False
    if hashlib.sha256(content[:-_DIGEST_BYTES]).digest() == content[-_DIGEST_BYTES:]:
        return True
    log.warning("%s: damaged, so the kernel is compiled anew", file)
    return False


def open_library(file: Path) -> ctypes.CDLL:
    """Load a library.

    Args:
        file: What `bgai.engines.native_build.compile_library` has made.

    Raises:
        EngineError: It cannot be loaded.
    """
    try:
        library = ctypes.CDLL(str(file))
    except OSError as error:
        raise EngineError(f"{file}: the engine native cannot be loaded: {error}; {_OTHERWISE}") from error
    for enlarge in (library.enlarge_planes, library.enlarge_pixels):
        enlarge.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 4, *[ctypes.c_int] * 2, ctypes.c_bool, ctypes.c_int]
        enlarge.restype = ctypes.c_bool
    library.memory_size.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_bool, ctypes.c_int]
    library.memory_size.restype = library.weights_size.restype = ctypes.c_long
    library.weights_size.argtypes = [ctypes.c_int]
    return library
