"""Arrays in mapped files are known as such."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from bgai.mapped import forget, mapped_file


def test_an_array_in_a_mapped_file_is_known_through_its_views(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(240)))
    with (tmp_path / "a").open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    array = np.frombuffer(mapping, np.uint8).reshape(10, 8, 3)[::-1, 2:]
    assert mapped_file(array) is mapping
    forget(mapping)
    assert array[-1, 0, 0] == 6
    assert mapped_file(np.array(array)) is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep the pages until they need the memory")
def test_what_was_looked_at_does_not_count_as_memory(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(64 * 2**20))
    with (tmp_path / "a").open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    assert not np.frombuffer(mapping, np.uint8).any()
    before = psutil.Process().memory_info().rss
    forget(mapping)
    assert psutil.Process().memory_info().rss < before - 60 * 2**20
