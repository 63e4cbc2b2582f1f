"""A queue that takes turns between clients, so that many pictures of one do not keep another waiting."""

from __future__ import annotations

import threading
from collections import deque

from bgai.web.job import Job


class FairQueue:
    """Jobs of several clients; filled from one thread, emptied from another."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Job]] = {}
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def put(self, job: Job) -> None:
        with self._changed:
            self._waiting.setdefault(job.client, deque()).append(job)
            self._changed.notify()

    def take(self) -> Job | None:
        """Wait for the next job: the first of the client whose turn it is; None once the queue is closed."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            client = next(iter(self._waiting))
            jobs = self._waiting.pop(client)
            job = jobs.popleft()
            if jobs:
                self._waiting[client] = jobs  # behind all others
            return job

    def remove(self, job: Job) -> None:
        """Take a job out, if it is still here."""
        with self._changed:
            jobs = self._waiting.get(job.client, deque())
            if job in jobs:
                jobs.remove(job)
                if not jobs:
                    del self._waiting[job.client]

    def close(self) -> None:
        """Nothing more is taken; whoever waits for a job gets None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def ahead(self) -> dict[str, int]:
        """For each waiting job's id, how many are taken before it."""
        with self._changed:
            order = [list(jobs) for jobs in self._waiting.values()]
        rounds = range(max(map(len, order), default=0))
        in_turn = [jobs[index] for index in rounds for jobs in order if index < len(jobs)]
        return {job.id: index for index, job in enumerate(in_turn)}
