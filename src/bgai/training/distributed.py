"""One process or several: under torchrun each learns its rank and its device, otherwise there is just the one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist

from bgai.errors import BgaiError, EngineError, UsageError

Launcher = Literal["none", "pytorch"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process's place among those that train together."""

    rank: int
    size: int
    device: torch.device
    group: Any = None
    """For all messages but gradients; of the backend gloo, so that nothing waits for a GPU."""

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that logs, validates and writes."""
        return self.rank == 0

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean over all processes."""
        if self.size == 1:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.size

    def agree(self, value: float) -> float:
        """The first process's value."""
        if self.size == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64)
        dist.broadcast(shared, src=0, group=self.group)
        return float(shared)

    def share(self, call: Callable[[], T]) -> T:
        """What the first process gets from a call, or the error that it meets, in all processes."""
        if self.size == 1:
            return call()
        outcome: list[Any] = [None]
        if self.is_first:
            try:
                outcome = [call()]
            except BgaiError as error:
                outcome = [error]
        dist.broadcast_object_list(outcome, src=0, group=self.group)
        if isinstance(outcome[0], BgaiError):
            raise outcome[0]
        result: T = outcome[0]
        return result


@contextmanager
def join(
    launcher: Launcher, num_gpu: Literal["auto"] | int = "auto", backend: str | None = None
) -> Iterator[ProcessGroup]:
    """Take this process's place; under the launcher `pytorch`, among those that torchrun started.

    Args:
        launcher: How the process was started.
        num_gpu: 0 trains on the CPU.
        backend: Of PyTorch's process group on GPUs; None is nccl.

    Raises:
        UsageError: The launcher does not fit how the process was started.
        EngineError: A GPU was asked for and none is there.
    """
    launched = "TORCHELASTIC_RUN_ID" in os.environ
    if launcher == "pytorch" and not launched:
        raise UsageError("--launcher pytorch: start with  torchrun --nproc_per_node=N train.py -opt FILE …")
    if launched and launcher == "none" and int(os.environ["WORLD_SIZE"]) > 1:
        raise UsageError("started by torchrun in several processes: add --launcher pytorch")
    if launcher == "none":
        yield ProcessGroup(0, 1, _device(num_gpu, 0, launched=False))
        return
    device = _device(num_gpu, int(os.environ["LOCAL_RANK"]), launched=True)
    backend = "gloo" if device.type == "cpu" else backend or "nccl"
    # The others wait while the first validates, however long that takes.
    patience = timedelta(days=1)
    dist.init_process_group(backend, timeout=patience)
    group = dist.new_group(backend="gloo", timeout=patience)
    yield ProcessGroup(dist.get_rank(), dist.get_world_size(), device, group)
    # Skipped after an error: destroying the group would deadlock with ranks that wait for gradients.
    dist.destroy_process_group()


def _device(num_gpu: Literal["auto"] | int, local_rank: int, launched: bool) -> torch.device:
    gpus = torch.cuda.device_count()
    if num_gpu == 0 or (num_gpu == "auto" and not gpus):
        return torch.device("cpu")
    if local_rank >= gpus:
        raise EngineError(
            f"num_gpu {num_gpu}: this process wants GPU {local_rank + 1}, {gpus} found;"
            " set num_gpu: 0 to train on the CPU"
        )
    if num_gpu != "auto" and num_gpu > 1 and not launched:
        raise UsageError(
            f"num_gpu {num_gpu}: start with  torchrun --nproc_per_node={num_gpu} train.py -opt FILE --launcher pytorch"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
