"""Arrays whose numbers lie in a file that is mapped into memory."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def mapped_file(array: NDArray[Any]) -> mmap.mmap | None:
    """The mapped file that an array lies in; None for an array in memory."""
    base: Any = array
    while isinstance(base, (np.ndarray, memoryview)):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None


def forget_pages(mapping: mmap.mmap) -> None:
    """Give back the memory of the pages that were read: they count as the process's own until then.

    The system's cache keeps them all the same. Does nothing where the system has no such call.
    """
    if hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)
