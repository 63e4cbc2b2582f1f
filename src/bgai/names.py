"""Checks names from option files and data sets before they become names of files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from bgai.errors import UsageError

_MAX_BYTES = 200  # file systems allow 255, and names get endings


def checked_name(name: str) -> str:
    """Return the name if a file or folder can have it.

    Raises:
        ValueError: It has slashes, control characters or more than 200 bytes, or is empty, `.` or `..`.
    """
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise ValueError("expected a name that a folder can have, without slashes")
    if any(ord(character) < 32 for character in name) or len(name.encode(errors="replace")) > _MAX_BYTES:
        raise ValueError(f"expected a name without control characters, of at most {_MAX_BYTES} bytes")
    return name


def path_within(folder: Path, name: str) -> Path:
    """The path of a name below a folder.

    Args:
        folder: Where the file is to lie.
        name: Of an image in a data set; slashes lead to folders below.

    Raises:
        UsageError: The name leads out of the folder, or no file can have it.
    """
    try:
        for part in name.split("/"):
            checked_name(part)
    except ValueError as error:
        raise UsageError(f"{name[:80]!r} cannot be the name of a file below {folder}: {error}") from error
    return folder / PurePosixPath(name)
