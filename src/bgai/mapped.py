"""Arrays that lie in a file mapped into memory."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def mapped_file(pixels: NDArray[Any]) -> mmap.mmap | None:
    """The mapped file that an array lies in, or None for an array in memory."""
    base: Any = pixels
    while isinstance(base, (np.ndarray, memoryview)):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None


def forget(mapping: mmap.mmap) -> None:
    """Stop counting the pages read so far as memory of this process; the system's file cache keeps them."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)
