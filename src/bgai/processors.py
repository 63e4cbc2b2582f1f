"""How many threads are worth starting: one for each processor core that this process may use."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import psutil

_most: int | None = None


def limit_threads(count: int | None) -> None:
    """Start at most so many from now on, in this process; None for no limit."""
    global _most
    _most = count


def thread_limit() -> int | None:
    """What `limit_threads` said last."""
    return _most


def usable_cores() -> int:
    """Cores that this process may use, of which each may run two threads; or fewer, where `limit_threads` says so."""
    cpus = usable_cpus()
    if sys.platform == "linux":
        cpus = len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})
    return min(cpus, _most or cpus)


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
