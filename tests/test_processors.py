"""How many threads are worth starting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bgai import processors
from bgai.processors import _container_limits, limit_threads, usable_cores, usable_cpus


def test_cores_are_at_most_the_cpus() -> None:
    assert 1 <= usable_cores() <= usable_cpus() <= (os.cpu_count() or 1)


def test_a_limit_is_kept_and_lifted() -> None:
    cores = usable_cores()
    limit_threads(1)
    assert usable_cores() == 1
    limit_threads(10_000)
    assert usable_cores() == cores


@pytest.mark.skipif(sys.platform != "linux", reason="no such thing on other systems")
def test_a_core_counts_once_whatever_its_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "_container_limits", lambda: iter(()))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(processors, "usable_cpus", lambda: 4)
    monkeypatch.setattr(processors, "_siblings", lambda cpu: ("0,2", "1,3")[cpu % 2])
    assert usable_cores() == 2


@pytest.mark.skipif(sys.platform != "linux", reason="no such thing on other systems")
def test_affinity_is_kept_to() -> None:
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); from bgai import processors as p; "
    code += "print(p.usable_cores(), p.usable_cpus())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1 1\n"


@pytest.mark.parametrize(
    ("line", "folder", "files", "limits"),
    [
        ("0::/a/b", "a", {"cpu.max": "150000 100000"}, [2]),
        ("0::/a/b", "a", {"cpu.max": "1000 100000"}, [1]),
        ("0::/a/b", "a", {"cpu.max": "max 100000"}, []),
        ("4:cpu,cpuacct:/a/b", "cpu/a", {"cpu.cfs_quota_us": "300000", "cpu.cfs_period_us": "100000"}, [3]),
        ("4:cpu,cpuacct:/a/b", "cpu/a", {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, []),
    ],
)
def test_containers_limit_the_cores(
    tmp_path: Path, line: str, folder: str, files: dict[str, str], limits: list[int]
) -> None:
    (own := tmp_path / "own").write_text(f"7:pids:/a/b\n{line}\n")
    root = tmp_path / "cgroup"
    (root / folder / "b").mkdir(parents=True)
    for name, text in files.items():
        (root / folder / name).write_text(f"{text}\n")
    assert list(_container_limits(root, own)) == limits


def test_the_smallest_limit_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "_container_limits", lambda: iter([3, 1, 2]))
    assert usable_cores() == 1
