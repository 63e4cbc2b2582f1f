"""What becomes of one upload, as `bgai upscale` does it: the check of its header, and its enlargement."""

from __future__ import annotations

from pathlib import Path

from bgai.pictures.reading import read_size
from bgai.types import PixelProgress
from bgai.upscaling.batch import Job as Planned
from bgai.upscaling.batch import OutputSettings, plan_jobs, run_job
from bgai.upscaling.files import EnlargedFile
from bgai.upscaling.fitting import FittingUpscalers
from bgai.upscaling.memory_plan import COMMAND_MEMORY
from bgai.upscaling.upscaler import Upscaler
from bgai.web.job import JobOptions

_ANY_SIZE = 10**15


def size_of(source: Path) -> tuple[int, int]:
    """Width and height of an upload, upright, whatever they are.

    Raises:
        ImageError: It is no picture, or of a kind that is not read.
    """
    height, width, _ = read_size(source, _ANY_SIZE)
    return width, height


def plan(source: Path, options: JobOptions, max_megapixels: float) -> Planned:
    """Name the output of an upload, in its folder, and look at its header.

    Raises:
        ImageError: It is no picture, or of a kind that is not read.
        OutputError: The format cannot hold the result.
    """
    found = plan_jobs([source], options.scale, _settings(source, options, max_megapixels), weights=lambda _: "")
    if found.failures:
        raise found.failures[0]
    return found.jobs[0]


class Enlarger:
    """Enlarges uploads; holds the upscaler of the last one, which alone takes memory."""

    def __init__(self, max_megapixels: float) -> None:
        self._max_megapixels = max_megapixels
        self._key: tuple[int, str, float | None] | None = None
        self._upscaler: Upscaler | FittingUpscalers | None = None

    def __call__(self, source: Path, options: JobOptions, progress: PixelProgress) -> tuple[Path, EnlargedFile]:
        """Enlarge an upload; return the output, and what is to be told of it.

        Raises:
            BgaiError: As `run_job` and `Upscaler` do.
        """
        settings = _settings(source, options, self._max_megapixels)
        planned = plan(source, options, self._max_megapixels)
        return planned.target, run_job(planned, self._upscaler_for(options), settings, progress)

    def _upscaler_for(self, options: JobOptions) -> Upscaler | FittingUpscalers:
        key = options.scale, options.weights, options.clean
        if self._upscaler is None or self._key != key:
            self._upscaler = self._key = None
            self._upscaler, self._key = _open(options), key
        return self._upscaler


def _open(options: JobOptions) -> Upscaler | FittingUpscalers:
    """With the memory of `bgai upscale --memory 1GiB`, and so its tiles and its pixels."""
    if options.weights == "auto" and options.clean is None:
        return FittingUpscalers(lambda name: Upscaler(options.scale, name, memory=COMMAND_MEMORY))
    weights = None if options.weights == "auto" else options.weights
    return Upscaler(options.scale, weights, clean=options.clean, memory=COMMAND_MEMORY)


def _settings(source: Path, options: JobOptions, max_megapixels: float) -> OutputSettings:
    return OutputSettings(
        source.parent,
        options.format,
        options.quality,
        overwrite=True,
        max_megapixels=max_megapixels,
        metadata=options.metadata,
    )
