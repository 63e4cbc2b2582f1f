"""The jobs of all clients: taken in, done one after the other, kept for a time, found again after a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bgai.errors import BgaiError, UsageError
from bgai.pictures.decoders import EXPECTED
from bgai.pictures.extra_formats import JXL_CODESTREAM, JXL_CONTAINER
from bgai.web.engine_thread import EngineThread, error_text
from bgai.web.enlarging import plan, size_of
from bgai.web.fair_queue import FairQueue
from bgai.web.job import Job, JobOptions, safe_name
from bgai.web.job_folder import JobFolder
from bgai.web.logs import log
from bgai.web.settings import ServiceSettings

_SWEEP_SECONDS = 30
_HEARTBEAT_SECONDS = 15
_LEAST_BETWEEN_EVENTS = 0.1  # seconds
_LONGEST_START = 32  # bytes that tell the kind of a picture

# Beginnings of files by which kinds of pictures are told apart, and the suffix of a file that has none.
_KINDS = (
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"RIFF", ".webp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"II+\0", ".tif"),
    (b"MM\0+", ".tif"),
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
    (b"BM", ".bmp"),
    (JXL_CODESTREAM, ".jxl"),
    (JXL_CONTAINER, ".jxl"),
)


class RefusedError(Exception):
    """A request that is not served.

    Args:
        status: HTTP's.
        message: One line: what, expected, what to do.
        retry_seconds: When to ask again.
    """

    def __init__(self, status: int, message: str, retry_seconds: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_seconds = retry_seconds


class Service:
    """All that is behind the routes; its methods are called from the event loop alone.

    Raises:
        OutputError: The folder cannot be made.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.folder = JobFolder(settings.folder)
        self.jobs: dict[str, Job] = {}
        self.queue = FairQueue()
        self.closing = False
        self.counts = {"done": 0, "failed": 0}
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine = EngineThread(self.queue, self.folder, settings.max_megapixels, self._job_changed)
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Find the jobs of earlier runs, and begin to work."""
        self._loop = asyncio.get_running_loop()
        for job in self.folder.load():
            self.jobs[job.id] = job
            if not job.is_final:
                self.queue.put(job)
        self._engine.start()
        self._sweeper = asyncio.create_task(self._sweep_at_times())

    async def stop(self) -> None:
        """Interrupt the job in work; it is done anew after the next start."""
        self.end_streams()
        if self._sweeper:
            self._sweeper.cancel()
        await asyncio.to_thread(self._engine.close)

    def end_streams(self) -> None:
        """End all streams of events, which would keep a server from ending."""
        self.closing = True
        self._wake()

    def check_room(self) -> None:
        """Refuse a picture before it is read.

        Raises:
            RefusedError: The queue or the disk is full.
        """
        if self.closing:
            raise RefusedError(503, "the service is ending; ask again later", retry_seconds=5)
        if len(self.queue) >= self.settings.queue:
            raise RefusedError(503, f"the queue of {self.settings.queue} is full; ask again later", 5)
        if sum(job.bytes for job in self.jobs.values() if not job.is_final) > self.settings.keep_bytes:
            raise RefusedError(503, "the pictures that wait take all the room for files; ask again later", 10)

    async def add(self, client: str, id: str, name: str, options: JobOptions, key: str = "") -> Job:
        """Make a job of an upload that lies as `upload` in the folder of its id.

        Args:
            client: Label of the client's jobs.
            id: The job's.
            name: Of the upload, whatever it is.
            options: How it is to be enlarged.
            key: If the client has a job of this key, that is given back, and the upload removed.

        Raises:
            RefusedError: It is not a picture, or too large.
            BgaiError: It cannot be enlarged as asked for.
        """
        job = await asyncio.to_thread(self._examine, client, id, name, options)
        if key:
            for other in self.jobs_of(client):
                if other.key == key:
                    self.folder.remove(id)
                    return other
            job.key = key
        self.folder.save(job)
        self.jobs[id] = job
        self.queue.put(job)
        self._wake()
        return job

    def _examine(self, client: str, id: str, name: str, options: JobOptions) -> Job:
        folder = self.folder.path(id)
        upload = folder / "upload"
        with upload.open("rb") as file:
            suffix = _suffix(file.read(_LONGEST_START))
        name = safe_name(name, suffix)
        source = upload.rename(folder / f"source{Path(name).suffix}")
        try:
            width, height = size_of(source)
            self._check_pixels(name, width, height)
            enlargement = plan(source, options, self.settings.max_megapixels).plan
        except BgaiError as error:
            raise RefusedError(422, error_text(error, folder, name)) from error
        job = Job(id, client, name, options, source.name, width, height, source.stat().st_size, time.time())
        job.output_height, job.output_width = enlargement.target
        job.scale = enlargement.scale
        return job

    def _check_pixels(self, name: str, width: int, height: int) -> None:
        if width * height > self.settings.max_pixels:
            limit = self.settings.max_megapixels
            raise RefusedError(413, f"{name}: {width} x {height} is more than the limit of {limit:g} megapixels here")

    def find(self, id: str) -> Job:
        """The job of an id.

        Raises:
            RefusedError: There is none.
        """
        if id not in self.jobs:
            raise RefusedError(404, "no such job; results are removed after a time")
        return self.jobs[id]

    def jobs_of(self, client: str) -> list[Job]:
        """A client's jobs, in the order in which they came."""
        return [job for job in self.jobs.values() if job.client == client]

    def remove(self, job: Job) -> None:
        """End a job and remove its files."""
        self.jobs.pop(job.id, None)
        job.stop.set()
        self.queue.remove(job)
        if self._engine.current is not job:  # which the engine's thread would still be using
            self.folder.remove(job.id)
        self._wake()

    def for_clients(self, jobs: Sequence[Job]) -> list[Mapping[str, Any]]:
        """Jobs as clients get them."""
        ahead = self.queue.ahead()
        running = self._engine.current is not None
        return [job.for_clients(ahead.get(job.id, 0) + running) for job in jobs]

    async def change(self) -> None:
        """Wait for the next change of any job; returns after a while without one too."""
        changed = self._changed
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(changed.wait(), _HEARTBEAT_SECONDS)

    async def changes(self, client: str, id: str | None = None) -> AsyncIterator[Mapping[str, Any] | None]:
        """Jobs as they change, of a client or with an id alone; None now and then while nothing does.

        What changed several times in a tenth of a second is sent once. A job that was removed is sent as one of the
        state `removed`. With an id the end of its job is the end.
        """
        sent: dict[str, Mapping[str, Any]] = {}
        while not self.closing:
            changed = self._changed
            jobs = [job for job in self.jobs_of(client) if id in (None, job.id)]
            news = {each["id"]: each for each in self.for_clients(jobs) if sent.get(each["id"]) != each}
            gone = sent.keys() - {job.id for job in jobs}
            for each in news.values():
                yield each
            for removed in gone:
                del sent[removed]
                yield {"id": removed, "state": "removed"}
            sent |= news
            if id is not None and (gone or not jobs or jobs[0].is_final):
                return
            if not changed.is_set():
                try:
                    await asyncio.wait_for(changed.wait(), _HEARTBEAT_SECONDS)
                except asyncio.TimeoutError:
                    yield None
            await asyncio.sleep(_LEAST_BETWEEN_EVENTS)

    def sweep(self, now: float) -> None:
        """Remove results that are too old, and the oldest ones while all take too much room."""
        finished = sorted((job for job in self.jobs.values() if job.is_final), key=lambda job: job.finished)
        size = sum(job.bytes for job in self.jobs.values())
        for job in finished:
            if now - job.finished > self.settings.keep_hours * 3600 or size > self.settings.keep_bytes:
                size -= job.bytes
                self.remove(job)

    async def _sweep_at_times(self) -> None:
        while True:
            self.sweep(time.time())
            await asyncio.sleep(_SWEEP_SECONDS)

    def _job_changed(self, job: Job) -> None:
        """Called in the engine's thread."""
        if self._loop:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._after_change, job, job.is_final)

    def _after_change(self, job: Job, final: bool) -> None:
        if final:
            self.counts["done" if job.state == "done" else "failed"] += 1
            log.info("job", extra={"fields": job.for_logs()})
            self.sweep(time.time())
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _suffix(start: bytes) -> str:
    """The suffix for a picture that begins like this.

    Raises:
        RefusedError: It is none of a kind that is read.
    """
    if start[4:8] == b"ftyp":
        return ".avif" if b"avi" in start[8:] else ".heic"
    for beginning, suffix in _KINDS:
        if start.startswith(beginning):
            return suffix
    raise RefusedError(415, f"not a picture of a kind that is read; expected {EXPECTED}")


def check_label(name: str, label: str) -> str:
    """A label that a client made up, such as that of its jobs, which nobody should be able to guess.

    Raises:
        UsageError: It is none.
    """
    if not (1 <= len(label) <= 64 and label.isascii() and label.replace("-", "").isalnum()):
        raise UsageError(f"{name}: expected 1 to 64 letters, digits and hyphens")
    return label
