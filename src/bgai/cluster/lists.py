"""Lists of pictures: text files with one path or address a line.

Storage is not asked whether an address in a list is that of a folder: it is taken for a picture, unless it ends with a
slash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bgai.errors import ImageError
from bgai.remote_files import AnyPath, RemotePath, parse_path
from bgai.upscaling.batch import local_copy

SUFFIX = ".txt"


def expand_lists(inputs: Sequence[AnyPath]) -> list[AnyPath]:
    """The inputs, with what the lists among them name in the place of each.

    Raises:
        ImageError: A list cannot be read, or is empty.
        UsageError: A line is an address of a kind that is not known.
    """
    return [path for given in inputs for path in (_read(given) if _is_list(given) else (given,))]


def _is_list(path: AnyPath) -> bool:
    return path.suffix.lower() == SUFFIX and not (isinstance(path, Path) and path.is_dir())


def _read(path: AnyPath) -> Iterator[AnyPath]:
    try:
        with local_copy(path) as file:
            lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"{path}: cannot be read as a list of pictures in UTF-8: {error}") from error
    if not any(lines):
        raise ImageError(f"{path}: names no pictures; expected one path or address on each line")
    return map(_known, (parse_path(line) for line in lines if line))


def _known(path: AnyPath) -> AnyPath:
    return replace(path, is_folder=bool(path.is_folder)) if isinstance(path, RemotePath) else path
