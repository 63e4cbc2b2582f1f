"""A test spread over the machines of a cluster: what each process of it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bgai.errors import EngineError
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
                raise EngineError(
                    f"a machine of the cluster has the {name} {value}, this one {self.run[name]}",
                    parameter=name if name in ("engine", "device") else "",
                )
        measure = Measurer(self.options, self.sets, enlarge)
        return lambda place: replace(measure(place), images=None)
