"""Free memory where PyTorch computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bgai import free_memory as module
from bgai.engines.openvino_engine import OpenVinoEngine
from bgai.evaluation.device_memory import free_bytes
from bgai.free_memory import _container_limits, free_memory, total_memory


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


def test_the_groups_below_one_count_in_version_1(tmp_path: Path) -> None:
    (own := tmp_path / "own").write_text("5:memory:/\n")
    group(tmp_path / "memory", "1000", 700, 50, ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    with (tmp_path / "memory/memory.stat").open("a") as file:
        file.write("total_inactive_file 80\n")
    assert list(_container_limits(tmp_path, own)) == [(1000, 380)]


def test_free_memory_is_what_a_limit_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_container_limits", lambda: iter([(23_456, 12_345), (99_999, 77_777)]))
    assert free_memory() == free_bytes(torch.device("cpu")) == 12_345
    assert total_memory() == 23_456
    monkeypatch.setattr(module, "_container_limits", lambda: iter(()))
    assert 77_777 < free_memory() < total_memory()


def test_engines_keep_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_container_limits", lambda: iter([(23_456, 12_345)]))
    engine = OpenVinoEngine.__new__(OpenVinoEngine)  # no weights are needed to ask for the memory
    assert engine.free_memory() == 12_345


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert list(_container_limits(tmp_path, tmp_path / "none")) == []
