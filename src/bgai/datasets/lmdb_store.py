"""BasicSR's LMDB layout: a folder of PNG images in one file, with a text file that lists them.

NAME.lmdb holds data.mdb, lock.mdb and meta_info.txt. The key of an image is its path below the folder without `.png`,
the value the bytes of its file; its line of meta_info.txt is `KEY.png (H,W,C) LEVEL`, LEVEL being that of the PNG
compression.
"""

from __future__ import annotations

import mmap
import os
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bgai.atomic_files import whole_folder, whole_or_nothing
from bgai.errors import EngineError, ImageError, OutputError, UsageError
from bgai.pictures.reading import decode_rgb8, read_size
from bgai.pictures.writing import PNG_LEVEL

if TYPE_CHECKING:
    from lmdb import Environment

META = "meta_info.txt"
_META_LINE = re.compile(r"(.+)\.png \((\d+),(\d+),\d+\) \d+")

# The stores open in a process, by folder: LMDB opens none twice. A forked process opens its own.
_open_stores: dict[Path, tuple[int, Environment]] = {}
_opening = threading.Lock()


def require_lmdb() -> None:
    """Raise `EngineError` where the package lmdb is missing."""
    try:
        import lmdb  # noqa: F401
    except ModuleNotFoundError:
        raise EngineError("this needs lmdb: install it with  pip install 'bgai[train]'") from None


def pack_lmdb(folder: Path, target: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Pack the PNG images below a folder, in the order of their names; the store appears whole or not at all.

    Args:
        target: A folder that is not there yet, named NAME.lmdb.
        progress: Called with the images packed and those in all.

    Raises:
        EngineError: The package lmdb is missing.
        UsageError: `target` does not end in .lmdb.
        ImageError: The folder holds no PNG images, or one is none.
        OutputError: `target` exists, or cannot be written.
    """
    require_lmdb()
    import lmdb

    if target.suffix != ".lmdb":
        raise UsageError(f"{target}: expected a name that ends in .lmdb")
    sources = sorted(path for path in folder.rglob("*.png") if not path.name.startswith("."))
    if not sources:
        raise ImageError(f"{folder}: no PNG images in this folder")
    with whole_folder(target) as partial:
        try:
            _pack(folder, sources, partial, progress)
        except lmdb.Error as error:
            raise OutputError(f"{target}: cannot be written: {error}") from error


def _pack(root: Path, sources: Sequence[Path], store: Path, progress: Callable[[int, int], None] | None) -> None:
    import lmdb

    lines = []
    with lmdb.open(str(store), map_size=_map_size(sources), sync=False) as environment:
        for done, source in enumerate(sources, 1):
            height, width, channels = read_size(source)
            key = source.relative_to(root).with_suffix("").as_posix()
            lines.append(f"{key}.png ({height},{width},{channels}) {PNG_LEVEL}\n")
            # One transaction each: LMDB keeps in memory what a transaction writes.
            with environment.begin(write=True) as transaction:
                transaction.put(key.encode(), source.read_bytes())
            if progress:
                progress(done, len(sources))
        environment.sync(True)
    with whole_or_nothing(store / META) as partial:
        partial.write_text("".join(lines), encoding="utf-8", newline="\n")


def _map_size(sources: Sequence[Path]) -> int:
    """Bytes that LMDB may use: every value has pages of its own or part of one, and the tree above takes few."""
    pages = sum(source.stat().st_size // mmap.PAGESIZE + 3 for source in sources)
    return (pages + 1024) * mmap.PAGESIZE


class LmdbImages:
    """The images of a store, read without a lock.

    May be copied into other processes, forked or not: each opens the store when it first reads.

    Raises:
        EngineError: The package lmdb is missing.
        ImageError: There is no such store, or its list is damaged.
    """

    def __init__(self, folder: Path) -> None:
        require_lmdb()
        self.folder = folder.resolve()
        self._sizes = _read_meta(folder)
        self.keys: Sequence[str] = tuple(self._sizes)

    def size(self, key: str) -> tuple[int, int]:
        """Height and width of an image, as the list has them."""
        return self._sizes[key]

    def read(self, key: str) -> NDArray[np.uint8]:
        """The image of a key, H x W x 3.

        Raises:
            ImageError: The key is not there, or what is stored is damaged.
        """
        import lmdb

        try:
            with _environment(self.folder).begin() as transaction:
                data = transaction.get(key.encode())
        except lmdb.Error as error:
            raise ImageError(f"{self.folder}: missing or damaged: {error}; pack it again") from error
        if data is None:
            raise ImageError(f"{self.folder}: has no image {key!r}")
        return decode_rgb8(data, f"{self.folder}: {key}")


def _read_meta(folder: Path) -> dict[str, tuple[int, int]]:
    """Heights and widths by key."""
    meta = folder / META
    try:
        lines = meta.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ImageError(f"{folder}: not an LMDB store of images: its {META} is missing or damaged") from None
    sizes = {}
    for number, line in enumerate(lines, 1):
        if not (match := _META_LINE.fullmatch(line.strip())):
            raise ImageError(f"{meta}: line {number} is {line[:60]!r}; expected NAME.png (H,W,C) LEVEL")
        sizes[match[1]] = int(match[2]), int(match[3])
    return sizes


def _environment(folder: Path) -> Environment:
    """The store, opened by this process."""
    with _opening:
        process, environment = _open_stores.get(folder, (0, None))
        if environment is None or process != os.getpid():
            if environment is not None:
                environment.close()  # the copy of it that a fork made
            environment = _open(folder)
            _open_stores[folder] = (os.getpid(), environment)
        return environment


def _open(folder: Path) -> Environment:
    import lmdb

    environment = lmdb.open(str(folder), readonly=True, lock=False, create=False, readahead=False)
    expected = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if (size := (folder / "data.mdb").stat().st_size) < expected:
        environment.close()
        # Reading behind the end would not raise an error but kill the process.
        raise ImageError(f"{folder}: cut short: data.mdb has {size} of {expected} bytes; copy or pack it again")
    return environment
