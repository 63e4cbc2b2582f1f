"""One process or several: under torchrun each learns its rank and its device, otherwise there is just the one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist

from bgai.errors import EngineError, UsageError
from bgai.options import TrainOptions

Launcher = Literal["none", "pytorch"]


@dataclass(frozen=True, slots=True)
class World:
    """This process's place among those that train together."""

    rank: int
    size: int
    device: torch.device

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
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.broadcast(shared, src=0)
        return float(shared)


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
    dist.init_process_group("gloo" if device.type == "cpu" else options.dist_params.backend or "nccl")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), device)
    finally:
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
