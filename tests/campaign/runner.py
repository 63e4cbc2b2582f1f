"""Runs cases in a process of their own, which may crash or hang, and counts what came of them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Protocol

from bgai.errors import BgaiError

_PEAK_GROWTH = 700 * 2**20  # bytes that a single case may take; no input is larger than a few megabytes
_LONGEST_LINE = 1000  # characters of an error


class FaultError(Exception):
    """What a case did that it must not, in words."""


class Kind(Protocol):
    """One kind of fault. `__init__` takes a folder for what all cases share."""

    title: str
    seconds: float
    """A case that takes longer hangs."""

    def attempt(self, random: Random, folder: Path) -> bool:
        """Make one case in an empty folder, and look at what comes of it.

        Returns:
            Whether the input was accepted; it was refused by one clear error otherwise.

        Raises:
            BgaiError: The input was refused.
            FaultError: The package did what it must not. Any other exception is a fault as well.
        """
        ...


MakeKind = Callable[[Path], Kind]


@dataclass
class Count:
    """What came of the cases of a kind."""

    title: str
    tried: int = 0
    accepted: int = 0
    seconds: float = 0.0
    faults: list[tuple[int, str]] = field(default_factory=list)
    """Number of the case, and what was wrong."""


def run(
    make: MakeKind,
    name: str,
    *,
    seed: int,
    seconds: float,
    most: int,
    first: int = 0,
    report: Callable[[str], None] = print,
) -> Count:
    """Run cases until the time is up.

    Args:
        make: Makes the kind; of a module, so that another process finds it.
        name: Of the kind; with the seed and the number of a case it decides all that is random in it.
        seed: Of the campaign.
        seconds: After so many no new case begins.
        most: Cases.
        first: Number of the first case.
        report: Takes a line for each fault.
    """
    number = first
    count = Count(name)
    with tempfile.TemporaryDirectory(prefix="bgai-campaign-", ignore_cleanup_errors=True) as scratch:
        while number < first + most and count.seconds < seconds:
            worker = _Worker(make, name, seed, number, Path(scratch))
            start = time.monotonic() - count.seconds  # loading libraries does not count
            try:
                while number < first + most and count.seconds < seconds:
                    accepted, fault = worker.next_case()
                    count.tried += 1
                    count.accepted += accepted
                    count.seconds = time.monotonic() - start
                    if fault:
                        count.faults.append((number, fault))
                        report(f"{name} --case {number}: {fault}")
                    number += 1
                    if worker.ended:
                        break
            finally:
                worker.close()
            count.title = worker.title
    return count


class _Worker:
    """A process that runs one case after the other, from a number on."""

    def __init__(self, make: MakeKind, name: str, seed: int, first: int, scratch: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, make, name, seed, first, scratch), daemon=False)
        self._process.start()
        other.close()
        self.ended = False
        self.title, self._seconds = self._connection.recv()

    def next_case(self) -> tuple[bool, str]:
        """Whether the input was accepted, and what was wrong, or nothing."""
        with suppress(BrokenPipeError):
            self._connection.send(None)
        if not self._connection.poll(self._seconds):
            self.ended = True
            self._process.kill()
            return False, f"hangs: not done after {self._seconds:g} seconds"
        try:
            accepted, fault = self._connection.recv()
        except EOFError:
            self.ended = True
            self._process.join()
            return False, f"the process ended: exit code {self._process.exitcode}"
        return accepted, fault

    def close(self) -> None:
        self._connection.close()
        self._process.join(30)
        self._process.kill()
        self._process.join()


def _work(connection: Connection, make: MakeKind, name: str, seed: int, number: int, scratch: Path) -> None:
    os.environ["BGAI_CACHE"] = str(scratch / "cache")
    logging.getLogger("bgai").addHandler(logging.NullHandler())
    (scratch / "cache").mkdir(exist_ok=True)
    shared = Path(tempfile.mkdtemp(dir=scratch))
    kind = make(shared)
    warnings.simplefilter("always")
    printed = _catch_printed(scratch)
    connection.send((kind.title, kind.seconds))
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        with tempfile.TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as folder:
            connection.send(_attempt(kind, Random(f"{name} {seed} {number}"), Path(folder), printed))
        number += 1


def _attempt(kind: Kind, random: Random, folder: Path, printed: int) -> tuple[bool, str]:
    before, names = _peak(), set(folder.parent.iterdir())
    accepted, fault = False, ""
    try:
        accepted = kind.attempt(random, folder)
    except BgaiError as error:
        if not str(error) or max(map(len, str(error).split("\n"))) > _LONGEST_LINE:
            fault = f"an error without words, or too many of them: {str(error)[:300]}"
    except FaultError as error:
        fault = str(error)
    except Exception as error:
        fault = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    sys.stderr.flush()
    if text := _take(printed):
        fault = fault or f"prints {' '.join(text.split())[:300]}"
    if (grown := _peak() - before) > _PEAK_GROWTH:
        fault = fault or f"takes {grown >> 20} MiB"
    if set(folder.parent.iterdir()) != names:
        fault = fault or "writes outside of its folder"
    return accepted, fault


def leftovers(folder: Path) -> list[str]:
    """Files and folders that the package has not finished."""
    return [path.name for path in folder.rglob(".bgai-*") if path.suffix in (".partial", ".folder")]


def _peak() -> int:
    """Bytes of memory that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _catch_printed(scratch: Path) -> int:
    """Send what the process prints, libraries too, to a file, and return its descriptor."""
    descriptor = os.open(scratch, os.O_TMPFILE | os.O_RDWR)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    return descriptor


def _take(descriptor: int) -> str:
    """What was printed since the last call."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    text = os.pread(descriptor, size, 0).decode("utf-8", "replace")
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return text
