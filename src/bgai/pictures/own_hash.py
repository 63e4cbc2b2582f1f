"""A hash of a whole file that lies in the file itself, as a field of its XMP: so it can tell that nothing was changed.

The hash is that of all bytes but its own digits, and but the checksum of the PNG chunk that they lie in.
"""

from __future__ import annotations

import hashlib
import mmap
import re
import zlib
from pathlib import Path

from bgai.pictures.png_chunks import SIGNATURE, heads

FIELD = "file"
DIGITS = 32
UNKNOWN = DIGITS * "0"
"""The value of the field until the hash is known."""
_FIELD = rf'bgai:{FIELD}="(%s)"'
_EMPTY, _FILLED = (re.compile((_FIELD % digits).encode()) for digits in (UNKNOWN, f"[0-9a-f]{{{DIGITS}}}"))
_CHECKSUM = 4
_BLOCK = 2**20


def write_own_hash(path: Path) -> None:
    """Put the hash of a finished file in the place of its field; a file without one stays as it is.

    Raises:
        OSError: The file cannot be read or written.
    """
    if not (places := _places(path, _EMPTY)):
        return
    with path.open("rb+") as file:
        file.seek(places[0])
        file.write(_hash(path, places).encode())
        for kind, length in heads(file) if len(places) > 1 else ():
            if file.tell() + length == places[1]:
                checksum = zlib.crc32(kind + file.read(length))
                file.write(checksum.to_bytes(_CHECKSUM, "big"))
                return


def is_unchanged(path: Path) -> bool:
    """Whether a file has the hash that it says; false if it says none, or cannot be read."""
    try:
        places = _places(path, _FILLED)
        if not places:
            return False
        with path.open("rb") as file:
            file.seek(places[0])
            return file.read(DIGITS) == _hash(path, places).encode()
    except (OSError, ValueError):
        return False


def _places(path: Path, field: re.Pattern[bytes]) -> tuple[int, ...]:
    """Where the digits lie, and in PNG the checksum behind them; nothing where there are none."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = field.search(content)
        if not found:
            return ()
        digits = found.start(1)
        if content[:8] != SIGNATURE:
            return (digits,)
        ends = (file.tell() + length for _, length in heads(file))
        return (digits, next((end for end in ends if end > digits), digits + DIGITS))


def _hash(path: Path, places: tuple[int, ...]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for place, length in zip(places, (DIGITS, _CHECKSUM), strict=False):
            while (left := place - file.tell()) and (block := file.read(min(left, _BLOCK))):
                digest.update(block)
            file.seek(place + length)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()[:DIGITS]
