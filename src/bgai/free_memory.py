"""Memory that this process can still take: what the machine has free, and no more than a container's limit leaves."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil

_VERSION_1 = "memory.limit_in_bytes", "memory.usage_in_bytes"
_VERSION_2 = "memory.max", "memory.current"


def free_memory() -> int:
    """Bytes that this process can still take of the computer's memory."""
    return min([psutil.virtual_memory().available, *_left_in_containers()])


def _left_in_containers(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Bytes that the memory limits of this process's control groups leave, of Linux; none where there is no limit.

    Source: the kernel's documentation of control groups, versions 1 and 2. What files hold in caches can be had back.
    """
    left = []
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
            left += [_left(each, *names) for each in (folder, *folder.parents) if each.is_relative_to(root)]
    return [each for each in left if each is not None]


def _left(folder: Path, limit: str, used: str) -> int | None:
    try:
        most, taken = (int((folder / name).read_text(encoding="utf-8")) for name in (limit, used))
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
        # Version 1 counts the groups below with this one in figures whose names begin so; version 2 always does.
        cached = int(statistics.get("total_inactive_file", statistics.get("inactive_file", 0)))
        return max(most - taken + cached, 0)
    except (OSError, ValueError):  # `max` is no limit
        return None
