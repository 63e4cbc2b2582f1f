"""Commands whose system calls fail as on a broken disk (EIO), and that then run again on a sound one.

Needs strace, which makes the calls fail.
"""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from random import Random

from campaign.kills import Enlarging, Kills, Preparing, Testing, Training
from campaign.runner import FaultError, leftovers

_SECONDS = 300.0
_CALLS = {"write": 60, "pwrite64": 20, "fsync": 12, "ftruncate": 12, "link": 6, "rename": 6, "unlink": 6, "mkdir": 4}
"""System calls that write, and from 1 up to which of them fails."""


class FailingCalls:
    """A command is run with one failing call, or with all that follow failing too, then without."""

    title = "system calls that fail with EIO, and the same command again"
    seconds = 4 * _SECONDS

    def __init__(self, folder: Path) -> None:
        self._commands: list[Kills] = []
        for kind in (Enlarging, Preparing, Testing, Training):
            (folder / kind.__name__).mkdir()
            self._commands.append(kind(folder / kind.__name__))

    def attempt(self, random: Random, folder: Path) -> bool:
        command = random.choice(self._commands)
        call = random.choice(sorted(_CALLS))
        when = f"{random.randint(1, _CALLS[call])}{random.choice(('', '', '+'))}"
        name = f"{type(command).__name__} with {call} {when} failing"
        tracer = ("strace", "-f", "--seccomp-bpf", "-o", os.devnull, "-e", f"inject={call}:error=EIO:when={when}")
        process = command.start(folder, tracer)
        try:
            messages = process.communicate(timeout=_SECONDS)[1]
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise FaultError(f"{name}: hangs") from error
        if "Traceback" in messages or process.returncode < 0:
            raise FaultError(f"{name}: exit code {process.returncode}: {messages[-300:]}")
        if call not in ("write", "unlink") and process.returncode and os.strerror(errno.EIO) not in messages:
            raise FaultError(f"{name}: the reason is not told: {messages[-300:]}")
        if wrong := command.wrong_outputs(folder):
            raise FaultError(f"{name}: wrong outputs: {wrong}")
        if call != "unlink" and (left := leftovers(folder)):
            raise FaultError(f"{name}: leaves {left}")
        if call == "unlink":  # what could not be removed stays until the next output in its folder
            for path in folder.rglob(".bgai-*.partial"):
                path.unlink()
        command.finish(folder, name)
        return process.returncode == 0
