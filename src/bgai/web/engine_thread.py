"""The one thread that enlarges pictures, one after the other, as `bgai upscale` does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bgai.errors import BgaiError, ImageError, UsageError
from bgai.upscaling.batch import FittingUpscalers, OutputSettings, plan_jobs, run_job
from bgai.upscaling.batch import Job as BatchJob
from bgai.upscaling.upscaler import Upscaler
from bgai.web.fair_queue import FairQueue
from bgai.web.job import Job, JobOptions
from bgai.web.job_folder import JobFolder
from bgai.weights.sources import cache_folder

log = logging.getLogger("bgai.web")


class _StoppedError(Exception):
    """Nobody wants the job's result any more."""


class EngineThread(threading.Thread):
    """Takes jobs from the queue until that is closed.

    Args:
        queue: Where jobs come from.
        folder: Where their files lie.
        max_megapixels: As of `OutputSettings`.
        changed: Called, in this thread, after each change of a job.
    """

    def __init__(
        self, queue: FairQueue, folder: JobFolder, max_megapixels: float, changed: Callable[[Job], None]
    ) -> None:
        super().__init__(name="engine", daemon=True)
        self._queue, self._folder, self._changed = queue, folder, changed
        self._max_megapixels = max_megapixels
        self._key: tuple[int, str, float | None] | None = None
        self._upscaler: Upscaler | FittingUpscalers | None = None
        self.current: Job | None = None
        self._closing = False

    def close(self) -> None:
        """Stop after the tile in work; the job in work stays one to be done."""
        self._closing = True
        self._queue.close()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        while job := self._queue.take():
            self.current = job
            try:
                self._do(job)
            except _StoppedError:
                job.state = "queued"
            finally:
                self.current = None
            if job.stop.is_set():
                self._folder.remove(job.id)
            self._changed(job)

    def _do(self, job: Job) -> None:
        job.state, job.started, job.pixels_done = "running", time.monotonic(), 0
        self._changed(job)
        folder = self._folder.of(job.id)
        try:
            self._enlarge(job, folder)
            job.state = "done"
        except _StoppedError:
            raise
        except (BgaiError, MemoryError) as error:
            job.state, job.error, job.error_status = "failed", error_text(error, folder, job.name), error_status(error)
        except Exception:
            log.exception("job %s", job.id)
            job.state, job.error, job.error_status = "failed", f"{job.name}: the service failed; its log says why", 500
        job.finished = time.time()
        try:
            self._folder.save(job)
        except BgaiError as error:
            job.state, job.error, job.error_status = "failed", error_text(error, folder, job.name), 503

    def _enlarge(self, job: Job, folder: Path) -> None:
        settings = output_settings(job.options, folder, self._max_megapixels)
        batch_job = plan(folder / job.source, job.options, settings)

        def progress(done: int, _: int) -> None:
            if job.stop.is_set() or self._closing:
                raise _StoppedError
            job.pixels_done = done
            self._changed(job)

        done = run_job(batch_job, self._upscaler_for(job.options), settings, progress)
        job.result, job.result_bytes = batch_job.target.name, batch_job.target.stat().st_size
        job.weights, job.notes = done.weights, done.notes

    def _upscaler_for(self, options: JobOptions) -> Upscaler | FittingUpscalers:
        """The last job's upscaler, if it fits: one alone holds memory."""
        if self._upscaler is None or self._key != options.weights_key:
            self._upscaler, self._key = None, None
            self._upscaler, self._key = _open(options), options.weights_key
        return self._upscaler


def _open(options: JobOptions) -> Upscaler | FittingUpscalers:
    scale, weights, clean = options.weights_key
    if weights == "auto" and clean is None:
        return FittingUpscalers(lambda name: Upscaler(scale, name))
    return Upscaler(scale, None if weights == "auto" else weights, clean=clean)


def output_settings(options: JobOptions, folder: Path, max_megapixels: float) -> OutputSettings:
    """How the result is written, into the job's folder."""
    return OutputSettings(
        folder,
        options.format,
        options.quality,
        overwrite=True,
        max_megapixels=max_megapixels,
        metadata=options.metadata,
    )


def plan(source: Path, options: JobOptions, settings: OutputSettings) -> BatchJob:
    """Look at the header of an upload, and refuse what cannot be enlarged.

    Raises:
        ImageError: It is no picture, or of a kind that is not read.
        OutputError: The format cannot hold the result.
    """
    found = plan_jobs([source], options.scale, settings)
    if found.failures:
        raise found.failures[0]
    return found.jobs[0]


def error_text(error: BaseException, folder: Path, name: str) -> str:
    """The one line of an error, with the upload's own name and no path of this machine."""
    if isinstance(error, MemoryError):
        return f"{name}: not enough memory"
    stem = Path(name).stem
    text = str(error).replace(str(folder / "source"), stem)
    for place in (folder, cache_folder(), Path.home()):
        text = text.replace(f"{place}/", "").replace(f"{place}\\", "")
    return text


def error_status(error: BaseException) -> int:
    """HTTP's status for an error: 422 where the picture or an option is to blame, 503 where this machine is."""
    return 422 if isinstance(error, (ImageError, UsageError)) else 503
