"""Pictures enlarged by all machines of a cluster: how each opens its upscaler, and what comes back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bgai.cluster.picture import Outcome, enlarge_picture
from bgai.cluster.pool import Pool, check_cluster, run_on_cluster
from bgai.cluster.strips import SpreadUpscaler
from bgai.errors import BgaiError
from bgai.pictures.reading import read_size
from bgai.types import EngineName, Precision
from bgai.upscaling.batch import NamedPicture, OutputSettings
from bgai.upscaling.fitting import AnyUpscaler, WeightsName, open_upscalers
from bgai.upscaling.memory_plan import COMMAND_MEMORY
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.sources import SHIPPED_NAMES, find_weights

LARGE_PIXELS = 2**24
"""Of a picture that all machines share, if it is the only one: at ×4 it would take one core five minutes."""


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

    def open(self, wrap: Callable[[Callable[[], Upscaler]], Upscaler] = lambda opened: opened()) -> AnyUpscaler:
        """The upscaler.

        Args:
            wrap: As for `open_upscalers`.

        Raises:
            BgaiError: It cannot be opened on this machine.
        """
        return open_upscalers(self._open_network, self.scale, self.weights, self.clean, sized=self.sized, wrap=wrap)

    def _open_network(self, scale: int | None, weights: WeightsName, clean: float | None) -> Upscaler:
        return Upscaler(
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
        )


@dataclass(frozen=True, slots=True)
class _Enlarging:
    """The work of each process."""

    opening: Opening
    settings: OutputSettings

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
    weights. A large picture that is the only one is enlarged by all of them, in strips.

    Args:
        pictures: Of `bgai.upscaling.batch.name_outputs`.
        opening: How processes open their upscalers.
        settings: Those that the pictures were named with.
        pool: The cluster.

    Raises:
        BgaiError: As `run_on_cluster`.
    """
    opening = replace(opening, device=pool.choose_device(opening.device))
    if len(pictures) == 1 and _is_large(pictures[0]):
        check_cluster(pool)
        yield enlarge_picture(pictures[0], opening.open(partial(_spread, pictures[0], opening, pool)), settings)
        return
    for picture, outcome in run_on_cluster(pictures, _Enlarging(opening, settings), pool):
        if isinstance(outcome, BgaiError):
            source = str(picture.source)
            outcome = Outcome(source, str(picture.target), "failed", error=f"{source}: {outcome}")
        yield outcome


def _is_large(picture: NamedPicture) -> bool:
    """Whether all machines share a picture; its strips lie beside its output, so that both have to be files."""
    if isinstance(picture.source, Path) and isinstance(picture.target, Path):
        with suppress(BgaiError):  # which is said where it is read
            return math.prod(read_size(picture.source)[:2]) > LARGE_PIXELS
    return False


def _spread(picture: NamedPicture, opening: Opening, pool: Pool, open: Callable[[], Upscaler]) -> Upscaler:
    assert isinstance(picture.target, Path)
    return SpreadUpscaler(open, opening.memory or COMMAND_MEMORY, picture.target.parent, pool)
