"""Free memory where PyTorch computes, and what is said where it does not suffice."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil
import torch

_VERSION_1 = "memory.limit_in_bytes", "memory.usage_in_bytes"


def free_bytes(device: torch.device) -> int:
    """Bytes that PyTorch can still take on a device; on a CPU no more than a container's limit leaves."""
    if device.type != "cuda":
        return min([psutil.virtual_memory().available, *_left_in_containers()])
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def _left_in_containers(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Bytes that the memory limits of this process's control groups leave, of Linux; none where there is no limit.

    Source: the kernel's documentation of control groups, versions 1 and 2. What files hold in caches can be had back.
    """
    left = []
    with suppress(OSError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                folder, limit, used = root / path.lstrip("/"), "memory.max", "memory.current"
            elif "memory" in controllers.split(","):
                folder, limit, used = root / "memory" / path.lstrip("/"), *_VERSION_1
            else:
                continue
            left += [_left(each, limit, used) for each in (folder, *folder.parents) if each.is_relative_to(root)]
    return [each for each in left if each is not None]


def _left(folder: Path, limit: str, used: str) -> int | None:
    try:
        most, taken = (int((folder / name).read_text(encoding="utf-8")) for name in (limit, used))
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
        return max(most - taken + int(statistics.get("inactive_file", 0)), 0)
    except (OSError, ValueError):  # `max` is no limit
        return None


def peak_bytes(device: torch.device) -> int:
    """The most that PyTorch has held on a GPU at once, or that this process holds now."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of PyTorch or Python says that memory was not enough; on CPUs it has no class of its own."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("allocate memory" in text or "not enough memory" in text)
