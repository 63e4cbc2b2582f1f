"""Outputs that appear whole or not at all."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from bgai.errors import OutputError


@contextmanager
def whole_or_nothing(target: Path, overwrite: bool = True) -> Iterator[Path]:
    """Lend a path beside `target`; what was written there becomes `target` if the block ends without an error.

    Raises:
        OutputError: `target` exists and `overwrite` is false, or the file system refuses.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target.parent}: cannot be made a folder: {error.strerror or error}") from None
    try:
        if not overwrite and target.exists():
            raise FileExistsError
        _remove_leftovers(target)
        partial.touch()
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        if overwrite:
            partial.replace(target)
        else:
            _claim(partial, target)
    except FileExistsError:
        raise OutputError(f"{target}: exists already; choose another output or allow overwriting") from None
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # which would hide the error that led here
            partial.unlink()


def _remove_leftovers(target: Path) -> None:
    """Remove what processes that were killed left of the same output."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.*.partial*"):
        pid = path.name.removeprefix(f".{target.name}.").split(".")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            path.unlink(missing_ok=True)


def _claim(partial: Path, target: Path) -> None:
    """Rename without replacing: a link fails if something took the name in the meantime."""
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(target) from None
        partial.rename(target)


def make_folder(path: Path) -> Path | None:
    """Make a folder for things that can be made again; None where that is not possible, which is no error."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return path if os.access(path, os.W_OK) else None
