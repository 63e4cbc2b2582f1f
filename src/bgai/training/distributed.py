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
from bgai.options.sections import TrainOptions

Launcher = Literal["none", "pytorch"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """This process's place among those that train together."""

    rank: int
    size: int
    device: torch.device
    group: Any = None
    """For what is agreed on besides gradients; on CPUs, so that no GPU is waited for."""

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
def join(options: TrainOptions, launcher: Launcher) -> Iterator[World]:
    """Take this process's place; under the launcher `pytorch`, among those that torchrun started.

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
        yield World(0, 1, _device(options, 0, launched=False))
        return
    device = _device(options, int(os.environ["LOCAL_RANK"]), launched=True)
    backend = "gloo" if device.type == "cpu" else options.dist_params.backend or "nccl"
    # The others wait while the first validates, however long that takes.
    patience = timedelta(days=1)
    dist.init_process_group(backend, timeout=patience)
    group = dist.new_group(backend="gloo", timeout=patience)
    yield World(dist.get_rank(), dist.get_world_size(), device, group)
    # Not after an error: this one would wait for the others, they for its gradients, and torchrun for all of them.
    dist.destroy_process_group()


def _device(options: TrainOptions, local_rank: int, launched: bool) -> torch.device:
    found = torch.cuda.device_count()
    if options.num_gpu == 0 or (options.num_gpu == "auto" and not found):
        return torch.device("cpu")
    if local_rank >= found:
        raise EngineError(
            f"num_gpu {options.num_gpu}: this process wants GPU {local_rank + 1}, {found} found;"
            " set num_gpu: 0 to train on the CPU"
        )
    if options.num_gpu != "auto" and options.num_gpu > 1 and not launched:
        raise UsageError(
            f"num_gpu {options.num_gpu}: start with  torchrun --nproc_per_node={options.num_gpu} train.py -opt FILE"
            " --launcher pytorch"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
