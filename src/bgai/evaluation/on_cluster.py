"""A test spread over the machines of a cluster: what each process of it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bgai.cluster.pool import Pool
from bgai.errors import EngineError, UsageError
from bgai.evaluation.measuring import Enlarger, Measured, Measurer, Place, TestSets
from bgai.evaluation.result_folder import Run
from bgai.options.evaluation import TestOptions
from bgai.types import EngineName
from bgai.upscaling.memory_plan import COMMAND_MEMORY


@dataclass(frozen=True, slots=True)
class Measuring:
    """The work of each process."""

    options: TestOptions
    sets: TestSets
    engine: EngineName
    device: str
    memory: int
    run: Run
    """What the driver writes of the test."""

    def open(self) -> Callable[[Place], Measured]:
        """Get ready to measure.

        Raises:
            BgaiError: That is not possible on this machine, or figures would not be those of the same network there.
        """
        enlarge = Enlarger(self.options, self.engine, self.device, COMMAND_MEMORY)
        for name, value in enlarge.identity().items():
            if value != self.run[name]:
                raise EngineError(f"a machine of the cluster has the {name} {value}, this one {self.run[name]}")
        measure = Measurer(self.options, self.sets, enlarge)
        return lambda place: replace(measure(place), images=None)


def choose_device(device: str, pool: Pool) -> str:
    """The device of processes of a cluster, which see no GPU without a share of one.

    Raises:
        UsageError: Device and share do not go together.
    """
    if pool.gpus and device == "cpu":
        raise UsageError("GPUs for a test on the CPU: leave one of them out", parameter="worker_gpus")
    if not pool.gpus and device.startswith("cuda"):
        raise UsageError(f"device {device}: expected a share of a GPU for each process", parameter="worker_gpus")
    return "cpu" if device == "auto" and not pool.gpus else device
