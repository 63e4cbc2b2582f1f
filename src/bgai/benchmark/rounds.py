"""Alternating rounds of work to be compared: each in its own process, or all in this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from bgai.benchmark.worker import Facts
from bgai.errors import UsageError
from bgai.types import Progress

WARM_UPS = 2
# OpenMP's threads keep spinning for up to 0.2 s after their work, which would slow down the next process.
REST_SECONDS = 0.3

Command = Sequence[str]


@dataclass(frozen=True, slots=True)
class Result:
    """Time and memory of one process."""

    name: str
    facts: Facts
    """What the process says of itself, such as its engine and device."""
    start_seconds: float
    """From the start of the process to its first result."""
    seconds: tuple[float, ...]
    """Of each round after the warm-ups."""
    cpu_seconds: tuple[float, ...]
    """Of each round, over all threads."""
    peak_bytes: int
    """Largest resident memory of the process; on a GPU the largest that PyTorch held there."""
    error: str
    """Why the process ended early; empty if it did not."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Processes that did the same work in turn; their times are shown as multiples of the first one's."""

    title: str
    results: tuple[Result, ...]


def compare(
    title: str,
    commands: Mapping[str, Command],
    *,
    rounds: int,
    warm_ups: int = WARM_UPS,
    environment: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Run rounds in several processes in turn.

    Args:
        title: Names the work.
        commands: Each starts a process that calls `bgai.benchmark.worker.serve`; by name.
        rounds: Measured rounds of each process.
        warm_ups: Rounds of each process before those, which are not measured; one at least.
        environment: Environment variables for all processes.
        progress: Called after each round.

    Returns:
        The result of each process. One that failed or was killed has its error there, and the others go on.

    Raises:
        UsageError: There are no rounds.
    """
    if rounds < 1:
        raise UsageError(f"{rounds} rounds: expected 1 or more", parameter="rounds")
    done, total = 0, len(commands) * (warm_ups + rounds)

    def advance(process: BenchmarkProcess) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(f"{title}: {process.name}", done, total)

    with ExitStack() as stack:
        processes = []
        for name, command in commands.items():
            processes.append(stack.enter_context(BenchmarkProcess(name, command, environment)))
            for _ in range(warm_ups):
                processes[-1].warm_up()
                advance(processes[-1])
        for _ in range(rounds):
            for process in processes:
                time.sleep(REST_SECONDS)
                process.run()
                advance(process)
        return Comparison(title, tuple(process.result() for process in processes))


def alternate(
    runs: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warm_ups: int = WARM_UPS,
    errors: tuple[type[Exception], ...] = (),
) -> dict[str, list[float]]:
    """Run functions of this process in turn, and return the seconds of each round after the warm-ups.

    A function that raises one of `errors` is not called again and has no seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    failed = set()
    for place in range(warm_ups + rounds):
        for name in [name for name in runs if name not in failed]:
            start = time.perf_counter()
            try:
                runs[name]()
            except errors:
                failed.add(name)
                seconds[name] = []
            else:
                if place >= warm_ups:
                    seconds[name].append(time.perf_counter() - start)
    return seconds


class BenchmarkProcess:
    """A process that calls `worker.serve`, started here; after it failed or was killed, rounds do nothing."""

    def __init__(self, name: str, command: Command, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.error = ""
        self._started = time.perf_counter()
        self._start_seconds = 0.0
        self._seconds: list[float] = []
        self._cpu_seconds: list[float] = []
        self._peak_bytes = 0
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115  # a pipe that nobody reads would fill
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            text=True,
            encoding="utf-8",
            env={**os.environ, **(environment or {})},
        )
        self._facts = self._answer() or {}

    def __enter__(self) -> BenchmarkProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._messages.close()

    def warm_up(self) -> None:
        """Run a round that is not measured."""
        if self._ask() and not self._start_seconds:
            self._start_seconds = time.perf_counter() - self._started

    def run(self) -> None:
        """Run a round."""
        if answer := self._ask():
            self._seconds.append(answer["seconds"])
            self._cpu_seconds.append(answer["cpu_seconds"])

    def result(self) -> Result:
        """What was measured so far."""
        return Result(
            self.name,
            self._facts,
            self._start_seconds,
            tuple(self._seconds),
            tuple(self._cpu_seconds),
            self._peak_bytes,
            self.error,
        )

    def _ask(self) -> dict[str, Any] | None:
        if self.error:
            return None
        assert self._process.stdin is not None
        with suppress(OSError):  # the process has ended, so there is no answer
            print(file=self._process.stdin, flush=True)
        if answer := self._answer():
            self._peak_bytes = answer["peak_bytes"]
        return answer

    def _answer(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": self._end()}
        self.error = answer.get("error", "")
        return None if self.error else answer

    def _end(self) -> str:
        """Why the process has ended without an answer."""
        code = self._process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            return f"killed by {name}" + (", most likely for want of memory" if name == "SIGKILL" else "")
        self._messages.seek(0)
        lines = self._messages.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"ended with {code}"
