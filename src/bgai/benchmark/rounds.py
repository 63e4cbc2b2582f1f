"""What enlarging costs on this machine: sides in processes of their own run rounds in turn."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import psutil

from bgai.benchmark.side_process import Facts, Run, serve
from bgai.engines.selection import ENGINES, check_engine, check_precision, choose
from bgai.errors import EngineError, UsageError
from bgai.types import EngineName, Progress
from bgai.upscaling.memory_plan import COMMAND_MEMORY
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.sources import Weights, find_weights

WARM_UPS = 2
# Threads of OpenMP go on spinning for up to 0.2 s after their work, and would take the next side's processors.
REST_SECONDS = 0.3
# Sizes, and their tiles as for `Upscaler`.
_SHORT_SET: dict[str, int | None] = {"128x128": 0, "256x256": 0, "640x480": None}

Command = Sequence[str]


@dataclass(frozen=True, slots=True)
class Case:
    """One of our engines at work on an image of noise, from memory to memory."""

    weights: str
    scale: int
    height: int
    width: int
    """Of the low-resolution image."""
    engine: str = "auto"
    device: str = "auto"
    tile: int | None = 0
    """As for `Upscaler`: 0 is the whole image, None a size by the free memory."""
    precision: str = "float32"

    def command(self) -> Command:
        """Start the side that runs this case."""
        return [sys.executable, "-m", "bgai.benchmark.rounds", json.dumps(asdict(self))]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one side took."""

    name: str
    facts: Facts
    """What the side says of itself, such as its engine and device."""
    start_seconds: float
    """From nothing to the first enlarged image."""
    seconds: tuple[float, ...]
    """Of each round after the warm-ups."""
    cpu_seconds: tuple[float, ...]
    """Of each round, over all threads."""
    peak_bytes: int
    """Largest resident memory of the process; on a GPU the largest that PyTorch held there."""
    error: str
    """Why the side ended early; empty if it did not."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Sides that did the same work in turn; what they took is told as multiples of the first one's."""

    title: str
    sides: tuple[Measured, ...]


def compare(
    title: str,
    commands: Mapping[str, Command],
    rounds: int,
    warm_ups: int = WARM_UPS,
    environment: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Run rounds of all sides in turn.

    Args:
        title: What work it is.
        commands: Each starts a process that calls `bgai.benchmark.side_process.serve`, by the name of its side.
        rounds: So many of each side are measured.
        warm_ups: So many of each side come before, unmeasured; one at least.
        environment: Variables that are set for all sides.
        progress: Called with what is being done, the rounds done and those in all.

    Returns:
        What each side took. A side that failed or was killed says so, and the others go on without it.

    Raises:
        UsageError: There are no rounds.
    """
    if rounds < 1:
        raise UsageError(f"{rounds} rounds: expected 1 or more")
    done, total = 0, len(commands) * (warm_ups + rounds)

    def advance(side: Side) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(f"{title}: {side.name}", done, total)

    with ExitStack() as stack:
        sides = []
        for name, command in commands.items():
            sides.append(stack.enter_context(Side(name, command, environment)))
            for _ in range(warm_ups):
                sides[-1].warm_up()
                advance(sides[-1])
        for _ in range(rounds):
            for side in sides:
                time.sleep(REST_SECONDS)
                side.run()
                advance(side)
        return Comparison(title, tuple(side.measured() for side in sides))


def measure(case: Case, rounds: int = 5) -> Measured:
    """What one case takes.

    Raises:
        EngineError: The process failed; its last line says why.
    """
    name = f"{case.engine} on {case.device} at {case.width} x {case.height}"
    measured = compare(name, {name: case.command()}, rounds).sides[0]
    if measured.error:
        raise EngineError(f"{name}: {measured.error}")
    return measured


class Side:
    """This end of a process that calls `side_process.serve`; once that failed or was killed, nothing more happens."""

    def __init__(self, name: str, command: Command, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.error = ""
        self._begun = time.perf_counter()
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

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._messages.close()

    def warm_up(self) -> None:
        """Run a round that does not count."""
        if self._ask() and not self._start_seconds:
            self._start_seconds = time.perf_counter() - self._begun

    def run(self) -> None:
        """Run a round."""
        if answer := self._ask():
            self._seconds.append(answer["seconds"])
            self._cpu_seconds.append(answer["cpu_seconds"])

    def measured(self) -> Measured:
        return Measured(
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
        with suppress(OSError):  # of a process that has ended, of which there is no answer
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


def plan_cases(
    sizes: Sequence[str] | None = None,
    scale: int | None = None,
    weights: str | None = None,
    engines: Sequence[str] | None = None,
    device: str = "auto",
    tile: int | None = None,
    precisions: Sequence[str] = ("float32",),
) -> dict[str, dict[str, Command]]:
    """What `compare` is to be called with, to measure our engines.

    Args:
        sizes: Of low-resolution images, such as `640x480`; None for a short set.
        engines: The one to compare with first; None for those that run here.
        scale, weights, device, tile: As for `Upscaler`; of the short set the small ones are not cut into tiles.
        precisions: As for `Upscaler`; every engine runs in each.

    Returns:
        Commands by the names of sides, by the title of each size.

    Raises:
        BgaiError: What `Upscaler` would refuse, or a size that is none.
    """
    found = find_weights(weights, scale)
    names = [check_engine(name) for name in dict.fromkeys(engines)] if engines else _engines_here(found, device)
    for name in names:
        choose(found, name, device)
    for precision in precisions:
        check_precision(precision)
    scale = Upscaler(scale, found, names[0], device, tile=tile).scale
    sides = {
        engine if precision == "float32" else f"{engine}, {precision}": (engine, precision)
        for engine in names
        for precision in dict.fromkeys(precisions)
    }
    planned: dict[str, dict[str, Command]] = {}
    for size in sizes or _SHORT_SET:
        width, height = _read_size(size)
        case = Case(weights or "bgai", scale, height, width, device=device, tile=tile)
        if not sizes and tile is None:
            case = replace(case, tile=_SHORT_SET[size])
        title = f"{width} x {height} to {width * scale} x {height * scale}"
        planned[title] = {
            name: replace(case, engine=engine, precision=precision).command()
            for name, (engine, precision) in sides.items()
        }
    return planned


def _read_size(text: str) -> tuple[int, int]:
    match = re.fullmatch("([1-9][0-9]*)x([1-9][0-9]*)", text)
    if not match:
        raise UsageError(f"size {text!r}: expected WIDTHxHEIGHT in pixels, such as 640x480")
    return int(match[1]), int(match[2])


def _engines_here(weights: Weights, device: str) -> list[EngineName]:
    """Engines that run these weights on this device: those that are installed, and for `auto` each where it would."""
    found: list[EngineName] = []
    for engine in ENGINES:
        with suppress(EngineError):
            if engine != "auto" and choose(weights, engine, device):
                found.append(engine)
    return found or [choose(weights, "auto", device)[0]]  # which says why there is none


def usable_cpus() -> int:
    """How many CPUs this process may use, and so the threads that engines take."""
    process = psutil.Process()
    # Not on macOS, which has no such thing.
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else os.cpu_count() or 1


def limit_cpus(count: int) -> None:
    """Keep this process, and those that it starts from now on, to so many CPUs; engines take a thread for each.

    Raises:
        UsageError: There are fewer, or the system cannot do that.
    """
    process = psutil.Process()
    if not hasattr(process, "cpu_affinity"):
        raise UsageError(f"{count} threads: this system cannot keep a process to some CPUs; leave it out")
    usable = process.cpu_affinity()
    if not 1 <= count <= len(usable):
        raise UsageError(f"{count} threads: expected 1 to {len(usable)}, the CPUs that are usable here")
    process.cpu_affinity(usable[:count])


def begin(case: Case) -> tuple[Run, Facts]:
    """Load a case in this process."""
    engine, precision = check_engine(case.engine), check_precision(case.precision)
    upscaler = Upscaler(
        case.scale, case.weights, engine, case.device, tile=case.tile, precision=precision, memory=COMMAND_MEMORY
    )
    image = np.random.default_rng(0).integers(0, 256, (case.height, case.width, 3), np.uint8)
    rows, columns = upscaler.plan(image)
    tiles, size = len(rows) * len(columns), (rows[0].length, columns[0].length)
    upscaler.engine.prepare(size, tiles)
    facts = {"engine": upscaler.engine.name, "device": upscaler.engine.device}
    if tiles > 1:
        facts["tiles"] = f"{tiles} of {size[1]} x {size[0]}"
    if upscaler.engine.device.startswith("cuda"):
        import torch

        facts["gpu"] = torch.cuda.get_device_name(upscaler.engine.device)
    return lambda: upscaler.upscale(image), facts


def main(arguments: Sequence[str]) -> None:
    serve(lambda: begin(Case(**json.loads(arguments[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
