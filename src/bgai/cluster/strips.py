"""One large image enlarged by all machines of a cluster: each of them makes strips of the result, as files."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bgai.atomic_files import partial_folder, whole_or_nothing
from bgai.cluster.pool import Pool, run_on_cluster
from bgai.errors import EngineError
from bgai.types import PixelProgress
from bgai.upscaling.pixels import Image, check_image
from bgai.upscaling.tiling import Span
from bgai.upscaling.upscaler import Upscaler

_IMAGE = "image.npy"


class SpreadUpscaler(Upscaler):
    """Yields the strips that another upscaler would, made by the machines of a cluster.

    Args:
        open: Gives the upscaler; it plans the tiles here, and each process opens its own.
        memory: Bytes that each process takes.
        folder: On a file system that all machines share, with room for the image and its result without compression.
        pool: The cluster.
    """

    def __init__(self, open: Callable[[], Upscaler], memory: int, folder: Path, pool: Pool) -> None:
        vars(self).update(vars(open()))
        self._open, self._process_memory = open, memory
        self._folder, self._pool = folder, pool

    def strips(
        self,
        image: Image,
        progress: PixelProgress | None = None,
        after_last: Callable[[], None] | None = None,
        *,
        keep_clear_colours: bool = False,
    ) -> Generator[Image, None, None]:
        """As `Upscaler.strips`.

        Raises:
            EngineError: The process that makes a strip ends each time.
        """
        check_image(image)
        plan = self.plan(image)
        with partial_folder(self._folder) as folder:
            np.save(folder / _IMAGE, image)
            work = _Strips(self._open, self._process_memory, folder, plan, keep_clear_colours)
            done, total = 0, image.shape[0] * image.shape[1] * self.scale**2
            (after_last or self.engine.release)()
            with closing(run_on_cluster(range(len(plan[0])), work, self._pool)) as outcomes:
                for file in _in_order(outcomes):
                    strip: Image = np.load(file)
                    file.unlink()
                    done += strip.shape[0] * strip.shape[1]
                    if progress:
                        progress(done, total)
                    yield strip
                    del strip  # before the next one takes its memory


def _in_order(outcomes: Iterable[tuple[int, Path | EngineError]]) -> Generator[Path, None, None]:
    """The files of strips from the top, each as soon as those above it are there."""
    ready: dict[int, Path] = {}
    following = 0
    for number, outcome in outcomes:
        if isinstance(outcome, EngineError):
            raise EngineError(f"strip {number + 1} cannot be made: {outcome}")
        ready[number] = outcome
        while following in ready:
            yield ready.pop(following)
            following += 1


@dataclass(frozen=True, slots=True)
class _Strips:
    """The work of each process."""

    open_upscaler: Callable[[], Upscaler]
    memory: int
    folder: Path
    plan: tuple[list[Span], list[Span]]
    keep_clear_colours: bool

    def open(self) -> Callable[[int], Path]:
        upscaler = self.open_upscaler()
        image = np.load(self.folder / _IMAGE, mmap_mode="r")

        def make(number: int) -> Path:
            strip = upscaler.strip(image, number, self.plan, keep_clear_colours=self.keep_clear_colours)
            file = self.folder / f"{number}.npy"
            with whole_or_nothing(file) as partial, partial.open("wb") as stream:
                np.save(stream, strip)
            return file

        return make
