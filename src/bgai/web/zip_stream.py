"""A zip archive that is made while it is sent: neither memory nor disk holds it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

_PART = 2**20  # bytes at a time


class _Parts(io.RawIOBase):
    """Takes what the archive's writer writes, which cannot go back in it, until it is fetched."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def fetch(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def zip_stream(files: Sequence[tuple[str, Path]]) -> Iterator[bytes]:
    """The bytes of an archive of files under names, pictures as they are, since they are compressed already.

    Files that are gone when their turn comes are left out; of names that come twice, the second gets a number.
    """
    parts = _Parts()
    with zipfile.ZipFile(parts, "w", zipfile.ZIP_STORED) as archive:
        for name, path in zip(_distinct([name for name, _ in files]), (path for _, path in files), strict=True):
            try:
                file = path.open("rb")
            except OSError:
                continue
            with file, archive.open(zipfile.ZipInfo.from_file(path, name), "w", force_zip64=True) as entry:
                while part := file.read(_PART):
                    entry.write(part)
                    yield parts.fetch()
            yield parts.fetch()
    yield parts.fetch()


def _distinct(names: Sequence[str]) -> Iterator[str]:
    taken: set[str] = set()
    for name in names:
        path, number, distinct = PurePosixPath(name), 1, name
        while distinct.casefold() in taken:
            number += 1
            distinct = f"{path.stem} ({number}){path.suffix}"
        taken.add(distinct.casefold())
        yield distinct
