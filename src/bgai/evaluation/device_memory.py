"""Free memory where PyTorch computes, and what is said where it does not suffice."""

from __future__ import annotations

import psutil
import torch

from bgai.engines.memory import free_memory


def free_bytes(device: torch.device) -> int:
    """Bytes that PyTorch can still take on a device; on a CPU no more than a container's limit leaves."""
    if device.type != "cuda":
        return free_memory()
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


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
