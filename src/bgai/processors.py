"""How many threads are worth starting: one for each processor core that this process may use."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from bgai.control_groups import OWN, ROOT, own_groups

_most: int | None = None


def limit_threads(count: int | None) -> None:
    """Start at most so many from now on, in this process; None for no limit."""
    global _most
    _most = count


def thread_limit() -> int | None:
    """What `limit_threads` said last."""
    return _most


def usable_cores() -> int:
    """Cores that this process may use, of one CPU or two; fewer, where a container or `limit_threads` says so."""
    cpus = usable_cpus()
    if sys.platform == "linux":
        cpus = len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})
    return min([cpus, _most or cpus, *_container_limits()])


def usable_cpus() -> int:
    """CPUs that this process may use, as the system counts them."""
    process = psutil.Process()
    # Not on macOS, which has no such thing.
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else os.cpu_count() or 1


def _siblings(cpu: int) -> str:
    """The CPUs that are the same core as this one."""
    with suppress(OSError):
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text(encoding="ascii")
    return str(cpu)


def _container_limits(root: Path = ROOT, own: Path = OWN) -> Iterator[int]:
    """The CPUs, rounded up, whose time each control group may take."""
    for folder, version in own_groups("cpu", root, own):
        with suppress(OSError, ValueError):  # `max` is no limit
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if version == 1 else ("cpu.max",)
            quota, period = map(int, " ".join((folder / name).read_text(encoding="ascii") for name in names).split())
            if quota > 0:  # version 1 has -1 for no limit
                yield max(1, math.ceil(quota / period))
