"""What becomes of one upload, as `bgai upscale` does it: the check of its header, and its enlargement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bgai.pictures.reading import read_size
from bgai.types import PixelProgress
from bgai.upscaling.batch import Job as Planned
from bgai.upscaling.batch import OutputSettings, plan_jobs, run_job
from bgai.upscaling.files import EnlargedFile
from bgai.upscaling.fitting import AnyUpscaler, WeightsName, open_upscalers
from bgai.upscaling.upscaler import Upscaler
from bgai.web.job import JobOptions
from bgai.web.preview import Preview, WatchedUpscaler

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
    planned = plan_jobs([source], options.scale, _settings(source, options, max_megapixels), weights=lambda _: "")
    if planned.failures:
        raise planned.failures[0]
    return planned.jobs[0]


class Enlarger:
    """Enlarges uploads; holds the upscaler of the last one, which alone takes memory."""

    def __init__(self, max_megapixels: float) -> None:
        self._max_megapixels = max_megapixels
        self._key: tuple[int | None, str, float | None] | None = None
        self._upscaler: AnyUpscaler | None = None
        self._preview: Preview | None = None

    def __call__(
        self, source: Path, options: JobOptions, preview: Preview, progress: PixelProgress
    ) -> tuple[Path, EnlargedFile]:
        """Enlarge an upload; return the output, and what was decided for it.

        Args:
            source: The upload.
            options: How it is to be enlarged.
            preview: Gets the finished rows, unless two networks make them, one after the other.
            progress: As for `run_job`.

        Raises:
            BgaiError: As `run_job` and `Upscaler` do.
        """
        settings = _settings(source, options, self._max_megapixels)
        planned = plan(source, options, self._max_megapixels)
        self._preview = preview
        try:
            return planned.target, run_job(planned, self._upscaler_for(options), settings, progress)
        finally:
            self._preview = None

    def _upscaler_for(self, options: JobOptions) -> AnyUpscaler:
        key = options.scale, options.weights, options.clean
        if self._upscaler is None or self._key != key:
            self._upscaler = self._key = None
            sized = options.size is not None
            self._upscaler = open_upscalers(self._open, options.scale, options.weights, options.clean, sized=sized)
            self._key = key
        return self._upscaler

    def _open(self, scale: int | None, weights: WeightsName, clean: float | None) -> Upscaler:
        """With the command's memory, and so its tiles and its pixels."""
        upscaler = WatchedUpscaler(scale, weights, clean=clean)
        upscaler.watch = self._show
        return upscaler

    def _show(self, strip: NDArray[Any]) -> None:
        if self._preview:
            self._preview.add(strip)


def _settings(source: Path, options: JobOptions, max_megapixels: float) -> OutputSettings:
    return OutputSettings(
        source.parent,
        options.format,
        options.quality,
        overwrite=True,
        max_megapixels=max_megapixels,
        metadata=options.metadata,
        size=options.size,
    )
