"""How much memory there is for CPU work: the machine's, or what the limit of a container leaves of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_VERSION_1 = "memory.limit_in_bytes", "memory.usage_in_bytes"
_VERSION_2 = "memory.max", "memory.current"


def free_memory() -> int:
    """Bytes that this process can still take of the computer's memory."""
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
    with suppress(OSError, ValueError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                folder, names = root / path.lstrip("/"), _VERSION_2
            elif "memory" in controllers.split(","):
                folder, names = root / "memory" / path.lstrip("/"), _VERSION_1
            else:
                continue
            # A container may see itself as the root, or under the path that it has outside.
            for each in (folder, *folder.parents):
                if each.is_relative_to(root):
                    yield from _limit(each, *names)


def _limit(folder: Path, limit: str, used: str) -> Iterator[tuple[int, int]]:
    """Nothing where there is none."""
    with suppress(OSError, ValueError):  # `max` is no limit
        most, taken = (int((folder / name).read_text(encoding="utf-8")) for name in (limit, used))
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
        # Version 1 counts the groups below with this one in figures whose names begin so; version 2 always does.
        cached = int(statistics.get("total_inactive_file", statistics.get("inactive_file", 0)))
        yield most, max(most - taken + cached, 0)
