"""Pictures that appear in folders, once they are complete."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bgai.errors import UsageError
from bgai.pictures.reading import INPUT_SUFFIXES

_State = tuple[int, int, int]
"""File number, size and time of change: a file that is being written has another state at the next look."""


def new_pictures(
    folders: Sequence[Path], recursive: bool = False, outputs: Path | None = None, seconds: float = 1.0
) -> Iterator[list[Path]]:
    """Look into folders again and again, for ever, and yield what is new each time; often that is nothing.

    A picture is yielded when two looks in a row have found it the same, and again after it was changed. Looking works
    on every file system; news of changes, which some systems give, do not come from other machines.

    Args:
        folders: Where pictures appear.
        recursive: Whether folders in them count.
        outputs: A folder that is left out.
        seconds: Between two looks.

    Raises:
        UsageError: One is no folder.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder}: not a folder, which alone can be watched", parameter="watch")
    before: Mapping[Path, _State] = {}
    yielded: dict[Path, _State] = {}
    while True:
        states = {
            path: state
            for folder in folders
            for path in _pictures(folder, recursive, outputs)
            if (state := _state(path))
        }
        new = {path: state for path, state in states.items() if before.get(path) == state != yielded.get(path)}
        yield sorted(new)
        yielded.update(new)
        before = states
        time.sleep(seconds)


def _pictures(folder: Path, recursive: bool, outputs: Path | None) -> Iterator[Path]:
    for root, inner, files in os.walk(folder):
        left_out = outputs and outputs.resolve()
        inner[:] = [name for name in inner if recursive and Path(root, name).resolve() != left_out]
        yield from (
            Path(root, name) for name in files if name.lower().endswith(INPUT_SUFFIXES) and not name.startswith(".")
        )


def _state(path: Path) -> _State | None:
    """None for what is empty, no file, or gone meanwhile."""
    with suppress(OSError):
        status = path.stat()
        if path.is_file() and status.st_size:
            return status.st_ino, status.st_size, status.st_mtime_ns
    return None
