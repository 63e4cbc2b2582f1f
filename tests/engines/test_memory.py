"""Free memory within the limits of containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bgai.engines import memory
from bgai.engines.memory import _container_limits, free_memory, total_memory


def group(folder: Path, limit: str, used: int, cached: int, names: tuple[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(names, (limit, str(used)), strict=True):
        (folder / name).write_text(f"{text}\n")
    (folder / "memory.stat").write_text(f"active_file 5\ninactive_file {cached}\n")


@pytest.mark.parametrize(
    ("line", "below", "names"),
    [
        ("0::/a/b", "a", ("memory.max", "memory.current")),
        ("5:cpu,memory:/a/b", "memory/a", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
    ],
)
def test_the_limits_of_all_groups_around_a_process_count(
    tmp_path: Path, line: str, below: str, names: tuple[str, str]
) -> None:
    root = tmp_path / "cgroup"
    own = tmp_path / "own"
    own.write_text(f"7:pids:/a/b\n{line}\n")
    assert list(_container_limits(root, own)) == []
    group(root / below / "b", "max" if names[0] == "memory.max" else str(2**62), 100, 0, names)
    group(root / below, "1000", 700, 50, names)
    assert min(_container_limits(root, own)) == (1000, 350)


def test_a_limit_bounds_what_is_free_and_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def limits() -> Iterator[tuple[int, int]]:
        yield 23_456, 12_345
        yield 99_999, 77_777

    monkeypatch.setattr(memory, "_container_limits", limits)
    assert (free_memory(), total_memory()) == (12_345, 23_456)
    monkeypatch.setattr(memory, "_container_limits", lambda: iter(()))
    assert 77_777 < free_memory() < total_memory() == psutil.virtual_memory().total


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert list(_container_limits(tmp_path, tmp_path / "none")) == []
