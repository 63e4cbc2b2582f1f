"""How much memory there is for CPU work: the machine's, or what the limit of a container leaves of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_VERSION_1 = "memory.limit_in_bytes", "memory.usage_in_bytes"


def free_memory() -> int:
    """Bytes that this process can still take."""
    return min([psutil.virtual_memory().available, *(left for _, left in _container_limits())])


def total_memory() -> int:
    """Bytes that all processes of this machine, or container, have together."""
    return min([psutil.virtual_memory().total, *(limit for limit, _ in _container_limits())])


def _container_limits(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Iterator[tuple[int, int]]:
    """The memory limits of this process's control groups, of Linux, and the bytes that each leaves.

    Source: the kernel's documentation of control groups, versions 1 and 2. What files hold in caches can be had back.
    """
    with suppress(OSError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                folder, limit, used = root / path.lstrip("/"), "memory.max", "memory.current"
            elif "memory" in controllers.split(","):
                folder, limit, used = root / "memory" / path.lstrip("/"), *_VERSION_1
            else:
                continue
            for each in (folder, *folder.parents):
                if each.is_relative_to(root):
                    yield from _limit(each, limit, used)


def _limit(folder: Path, limit: str, used: str) -> Iterator[tuple[int, int]]:
    """Nothing where there is none."""
    with suppress(OSError, ValueError):  # `max` is no limit
        most, taken = (int((folder / name).read_text(encoding="utf-8")) for name in (limit, used))
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
        yield most, max(most - taken + int(statistics.get("inactive_file", 0)), 0)
