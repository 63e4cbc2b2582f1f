"""Arrays in mapped files are known as such."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np

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
