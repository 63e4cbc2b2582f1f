"""Outputs that appear whole or not at all.

Until it is whole, an output lies beside its place under a name of its own, `.bgai-RANDOM.partial`, which is created
exclusively and held locked. The system frees the lock when the process ends, however it ends: a partial file that
nobody holds locked is a leftover, whatever process wrote it, in whatever container.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from bgai.errors import OutputError

if sys.platform != "win32":
    import fcntl

_PREFIX, _SUFFIX = ".bgai-", ".partial"
_tidied: set[tuple[int, int]] = set()  # folders that this process has looked through, by device and inode


@contextmanager
def whole_or_nothing(target: Path, overwrite: bool = True) -> Iterator[Path]:
    """Yield a path beside `target`; the file there becomes `target` if the block ends without an error.

    The path names an empty file. The first output in a folder removes the partial files of killed processes.

    Args:
        overwrite: Whether `target` may be replaced.

    Raises:
        OutputError: `target` exists and `overwrite` is false, or the file system refuses.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target.parent}: cannot be made a folder: {error.strerror or error}") from error
    try:
        _check_name(target, overwrite)
        _tidy(target.parent)
        with _PartialFile(target.parent) as partial:
            yield partial.path
            partial.publish(target, overwrite)
    except FileExistsError as error:
        raise OutputError(f"{target}: exists already; choose another output or allow overwriting") from error
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error


@contextmanager
def partial_file(folder: Path) -> Iterator[Path]:
    """Lend a new, empty file for a part of an output; it is removed in the end, or as a leftover.

    Raises:
        OSError: The file system refuses.
    """
    with _PartialFile(folder) as partial:
        yield partial.path


@contextmanager
def partial_folder(parent: Path) -> Iterator[Path]:
    """Lend a new, empty folder for parts of an output; it is removed in the end, or as a leftover.

    Raises:
        OSError: The file system refuses.
    """
    with _PartialFile(parent) as owner:
        folder = _folder_of(owner.path)
        try:
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _check_name(target: Path, overwrite: bool) -> None:
    """Find out before any work is done that a name is taken, or too long."""
    with suppress(FileNotFoundError):
        status = target.lstat()
        if not overwrite:
            raise FileExistsError
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


@contextmanager
def claimed(target: Path) -> Iterator[bool]:
    """Tell other processes that this one works for `target`; lends False if another one does.

    The sign is a partial file whose name says for which output it is, held locked: it ends with its process. Where a
    file system has no locks, and on Windows, nobody learns of the others, whose outputs are whole all the same.
    """
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    descriptor = _open_claim(target.parent / f"{_PREFIX}{digest}{_SUFFIX}")
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None and descriptor >= 0:
            with suppress(OSError):
                (target.parent / f"{_PREFIX}{digest}{_SUFFIX}").unlink()
            os.close(descriptor)


def _open_claim(path: Path) -> int | None:
    """The descriptor of a claim that is held now; None if another process holds it, -1 where nobody can."""
    if sys.platform == "win32":
        return -1
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError:
            return -1  # writing the output will say why
        try:
            held = _lock(descriptor)
        except OSError:
            os.close(descriptor)
            return -1
        with suppress(FileNotFoundError):
            if not held or os.path.samestat(os.fstat(descriptor), path.stat()):
                if held:
                    return descriptor
                os.close(descriptor)
                return None
        os.close(descriptor)  # of a claim that was given up before it was locked


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`; it becomes `target` if the block ends without an error.

    Raises:
        OutputError: `target` exists, or the file system refuses.
    """
    try:
        if target.exists():
            raise FileExistsError
        target.parent.mkdir(parents=True, exist_ok=True)
        _tidy(target.parent)
        with partial_folder(target.parent) as folder:
            yield folder
            folder.rename(target)
    except FileExistsError as error:
        raise OutputError(f"{target}: exists already; remove it, or choose another output") from error
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error


class _PartialFile:
    """A new, empty file that no other process takes for a leftover while this one is open."""

    def __init__(self, folder: Path) -> None:
        while True:
            self.path = folder / f"{_PREFIX}{os.urandom(8).hex()}{_SUFFIX}"
            self._descriptor: int | None = None
            with suppress(FileExistsError):
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            # Another process may have taken the file for a leftover before it was locked.
            if self._lock() and os.path.lexists(self.path):
                return
            self._close()

    def _lock(self) -> bool:
        if self._descriptor is None:
            return False
        try:
            return _lock(self._descriptor)
        except OSError:  # a file system without locks: nobody removes leftovers there
            return True

    def __enter__(self) -> _PartialFile:
        return self

    def publish(self, target: Path, overwrite: bool) -> None:
        """Give the file its name.

        Raises:
            FileExistsError: The name is taken, and `overwrite` is false.
            OSError: The file system refuses.
        """
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        if sys.platform == "win32":
            self._close()  # an open file cannot be renamed there
        if overwrite:
            self.path.replace(target)
        else:
            _claim(self.path, target)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if sys.platform == "win32":
            self._close()  # nor removed
        with suppress(OSError):  # which would hide the error that led here
            self.path.unlink()
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _folder_of(partial: Path) -> Path:
    """The partial folder that a partial file stands for."""
    return partial.with_suffix(".folder")


def _lock(descriptor: int) -> bool:
    """Lock a file until it is closed; False if another holds it locked.

    Raises:
        OSError: The file system has no locks.
    """
    if sys.platform == "win32":
        return True  # a file that somebody has open cannot be removed there, which is lock enough
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _tidy(folder: Path) -> None:
    """Remove leftovers when this process writes to a folder for the first time."""
    state = folder.stat()
    if (state.st_dev, state.st_ino) not in _tidied:
        _tidied.add((state.st_dev, state.st_ino))
        remove_leftovers(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove the partial files of killed processes from a folder; those of running processes stay."""
    leftovers: list[Path] = []
    with suppress(OSError), os.scandir(folder) as entries:
        leftovers = [
            folder / entry.name for entry in entries if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX)
        ]
    for path in leftovers:
        with suppress(OSError):  # in use, gone by now, or not ours to remove
            _remove_leftover(path)


def _remove_leftover(path: Path) -> None:
    if sys.platform == "win32":
        path.unlink()  # first: it fails if a process has it open
        shutil.rmtree(_folder_of(path), ignore_errors=True)
        return
    with path.open("rb+") as file:
        if _lock(file.fileno()):
            shutil.rmtree(_folder_of(path), ignore_errors=True)
            path.unlink()


def _claim(partial: Path, target: Path) -> None:
    """Rename without replacing: a link fails if something took the name in the meantime."""
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        partial.rename(target)


def set_aside(folder: Path) -> None:
    """Rename a folder whose name is needed again: `_archived_` and the time in UTC are appended.

    Raises:
        OutputError: The file system refuses.
    """
    now = datetime.now(timezone.utc).strftime("%Y%m%d_%H%M%S")
    try:
        folder.rename(folder.with_name(f"{folder.name}_archived_{now}"))
    except OSError as error:
        raise OutputError(f"{folder}: earlier results cannot be renamed: {error.strerror or error}") from None


def make_folder(path: Path) -> Path | None:
    """Make a folder for a cache; None where that is not possible, which is no error."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return path if os.access(path, os.W_OK) else None
