"""Pictures enlarged by all machines of a cluster: how each opens its upscaler, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bgai.cluster.picture import Outcome, enlarge_picture
from bgai.cluster.pool import Pool, run_on_cluster
from bgai.errors import BgaiError
from bgai.types import EngineName, Precision
from bgai.upscaling.batch import NamedPicture, OutputSettings
from bgai.upscaling.fitting import AnyUpscaler, open_upscalers
from bgai.upscaling.memory_plan import COMMAND_MEMORY
from bgai.weights.sources import SHIPPED_NAMES, find_weights


@dataclass(frozen=True, slots=True)
class Opening:
    """How each worker process opens its upscaler; arguments are those of `bgai.Upscaler` and `upscale_file`."""

    scale: int | None = None
    weights: str | Path = "auto"
    clean: float | None = None
    engine: EngineName = "auto"
    device: str = "auto"
    precision: Precision = "float32"
    tile: int | None = None
    halo: int | None = None
    compile: bool = False
    memory: int | None = COMMAND_MEMORY
    """Also what tiles depend on: the same on all machines of a cluster, so that the results are the same."""
    sized: bool = False
    """Whether each picture gets the scale that its size needs."""

    def find_scale(self) -> int | None:
        """That of the upscaler, None if it has none of its own; opened only for weights of a file.

        Raises:
            BgaiError: There are no such weights.
        """
        if self.weights not in ("auto", *SHIPPED_NAMES, "official"):
            return self.open().scale
        find_weights(None if self.weights in ("auto", "official") else self.weights, self.scale, self.clean)
        return None if self.sized else self.scale or 4

    def open(self) -> AnyUpscaler:
        """The upscaler.

        Raises:
            BgaiError: It cannot be opened on this machine.
        """
        from bgai.upscaling.upscaler import Upscaler

        return open_upscalers(
            lambda scale, weights, clean: Upscaler(
                scale,
                weights,
                self.engine,
                self.device,
                tile=self.tile,
                halo=self.halo,
                precision=self.precision,
                compile=self.compile,
                clean=clean,
                memory=self.memory,
            ),
            self.scale,
            self.weights,
            self.clean,
            sized=self.sized,
        )


@dataclass(frozen=True, slots=True)
class _Enlarging:
    """The work of each process."""

    opening: Opening
    settings: OutputSettings

    @property
    def engine(self) -> EngineName:
        return self.opening.engine

    @property
    def memory(self) -> int:
        return self.opening.memory or COMMAND_MEMORY

    def open(self) -> Callable[[NamedPicture], Outcome]:
        upscaler = self.opening.open()
        return lambda picture: enlarge_picture(picture, upscaler, self.settings)


def enlarge_on_cluster(
    pictures: Sequence[NamedPicture], opening: Opening, settings: OutputSettings, pool: Pool
) -> Iterator[Outcome]:
    """Enlarge pictures on all machines of a cluster, and yield what became of each, in the order of being done.

    All machines need this package in the same version, and the same paths or addresses of pictures, outputs and
    weights.

    Args:
        pictures: Of `bgai.upscaling.batch.name_outputs`.
        opening: How processes open their upscalers.
        settings: Those that the pictures were named with.
        pool: The cluster.

    Raises:
        BgaiError: As `run_on_cluster`.
    """
    for picture, outcome in run_on_cluster(pictures, _Enlarging(opening, settings), pool):
        if isinstance(outcome, BgaiError):
            source = str(picture.source)
            outcome = Outcome(source, str(picture.target), "failed", error=f"{source}: {outcome}")
        yield outcome
