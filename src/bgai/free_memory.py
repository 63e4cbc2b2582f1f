"""How much memory there is for CPU work: the machine's, or what the limit of a container leaves of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from bgai.control_groups import OWN, ROOT, own_groups

_FILES = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes"), 2: ("memory.max", "memory.current")}


def free_memory() -> int:
    """Bytes that this process can still take of the computer's memory."""
    return min([psutil.virtual_memory().available, *(left for _, left in _container_limits())])


def total_memory() -> int:
    """Bytes that all processes of this machine, or container, have together."""
    return min([psutil.virtual_memory().total, *(limit for limit, _ in _container_limits())])


def _container_limits(root: Path = ROOT, own: Path = OWN) -> Iterator[tuple[int, int]]:
    """The memory limits of this process's control groups, and the bytes that each leaves.

    What files hold in caches can be had back.
    """
    for folder, version in own_groups("memory", root, own):
        yield from _limit(folder, *_FILES[version])


def _limit(folder: Path, limit: str, used: str) -> Iterator[tuple[int, int]]:
    """Nothing where there is none."""
    with suppress(OSError, ValueError):  # `max` is no limit
        most, taken = (int((folder / name).read_text(encoding="utf-8")) for name in (limit, used))
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
        # Version 1 counts the groups below with this one in figures whose names begin so; version 2 always does.
        cached = int(statistics.get("total_inactive_file", statistics.get("inactive_file", 0)))
        yield most, max(most - taken + cached, 0)
