"""The one thread that enlarges pictures, one after the other, as `bgai upscale` does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bgai.errors import BgaiError, ImageError, UsageError
from bgai.web.enlarging import Enlarger
from bgai.web.fair_queue import FairQueue
from bgai.web.job import Job, State
from bgai.web.job_folder import JobFolder
from bgai.web.preview import Preview
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
        self._enlarger = Enlarger(max_megapixels)
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
            except Exception:  # one job never ends the work on others
                log.exception("job %s", job.id)
                job.state, job.error, job.error_status = "failed", f"{job.name}: the service failed", 500
            finally:
                self.current = None
            if job.stop.is_set():
                self._folder.remove(job.id)
            self._changed(job)

    def _do(self, job: Job) -> None:
        job.state, job.started, job.pixels_done = "running", time.monotonic(), 0
        self._changed(job)
        folder = self._folder.path(job.id)
        state: State = "done"
        try:
            self._enlarge(job, folder)
        except Exception as error:
            if self._unwanted(job):
                raise _StoppedError from error
            if isinstance(error, (BgaiError, MemoryError)):
                job.error, job.error_status = error_text(error, folder, job.name), error_status(error)
            else:
                log.exception("job %s", job.id)
                job.error, job.error_status = f"{job.name}: the service failed; its log says why", 500
            state = "failed"
        finished = time.time()
        try:
            self._folder.save(replace(job, state=state, finished=finished))
        except BgaiError as error:
            state, job.error, job.error_status = "failed", error_text(error, folder, job.name), 503
        # The state comes last: whoever sees a finished job may remove its folder, in which nothing is written any more.
        job.finished, job.state = finished, state

    def _enlarge(self, job: Job, folder: Path) -> None:
        def progress(done: int, _: int) -> None:
            if self._unwanted(job):
                raise _StoppedError
            job.pixels_done = done
            self._changed(job)

        job.preview = preview = Preview((job.height * job.scale, job.width * job.scale))
        try:
            result, enlarged = self._enlarger(folder / job.source, job.options, preview, progress)
        finally:
            job.preview = None
        job.result, job.result_bytes = result.name, result.stat().st_size
        job.weights, job.notes = enlarged.weights, enlarged.notes

    def _unwanted(self, job: Job) -> bool:
        return self._closing or job.stop.is_set()


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
