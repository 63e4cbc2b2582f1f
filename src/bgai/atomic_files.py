"""Outputs that appear whole or not at all."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

import psutil

from bgai.errors import OutputError


@contextmanager
def whole_or_nothing(target: Path, overwrite: bool = True, *, tidy: bool = True) -> Iterator[Path]:
    """Lend a path beside `target`; what was written there becomes `target` if the block ends without an error.

    Args:
        overwrite: Whether `target` may be replaced.
        tidy: Remove what killed processes left of `target`, which looks through the whole folder: who writes
            thousands of files there calls `remove_leftovers` once instead.

    Raises:
        OutputError: `target` exists and `overwrite` is false, or the file system refuses.
    """
    partial = _partial(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target.parent}: cannot be made a folder: {error.strerror or error}") from None
    try:
        if not overwrite and target.exists():
            raise FileExistsError
        if tidy:
            remove_leftovers(target.parent, target.name)
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


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Lend an empty folder beside `target`; it becomes `target` if the block ends without an error.

    Raises:
        OutputError: `target` exists, or the file system refuses.
    """
    partial = _partial(target)
    try:
        if target.exists():
            raise FileExistsError
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent, target.name)
        shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had the number of this one
        partial.mkdir()
        yield partial
        partial.rename(target)
    except FileExistsError:
        raise OutputError(f"{target}: exists already; remove it, or choose another output") from None
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.partial")


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what processes that were killed left in a folder: of the output of that name, or of all."""
    for path in folder.glob(f".{'*' if name is None else glob.escape(name)}.*.partial*"):
        pid = path.name.rpartition(".partial")[0].rpartition(".")[2]
        if not pid.isdigit() or psutil.pid_exists(int(pid)):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
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


def set_aside(folder: Path) -> None:
    """Rename a folder whose name is wanted anew: `_archived_` and the time, in UTC, end its name.

    Raises:
        OutputError: The file system refuses.
    """
    now = datetime.now(timezone.utc).strftime("%Y%m%d_%H%M%S")
    try:
        folder.rename(folder.with_name(f"{folder.name}_archived_{now}"))
    except OSError as error:
        raise OutputError(f"{folder}: earlier results cannot be renamed: {error.strerror or error}") from None


def make_folder(path: Path) -> Path | None:
    """Make a folder for things that can be made again; None where that is not possible, which is no error."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return path if os.access(path, os.W_OK) else None
