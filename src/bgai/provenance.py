"""What made a result: the commit, the versions and the machine."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bgai._version import __version__


@functools.cache  # as it was when the program was loaded
def commit() -> str:
    """The commit of the clone that this package runs from, with `-dirty` if files differ from it; or `unknown`."""
    here = Path(__file__)
    # An installed package may lie in the folder of a clone of something else.
    if not _git("ls-files", here.name):
        return "unknown"
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or "unknown"


def short(commit: str) -> str:
    """The first ten digits of what `commit` gave, with its `-dirty`."""
    return commit[:10] + "-dirty" * commit.endswith("-dirty")


def _git(*arguments: str) -> str:
    try:
        result = subprocess.run(
            # The clone's settings may name a program to run, and another git may hold the lock of its index.
            ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError:  # no git
        return ""
    return result.stdout.strip()


def versions(*packages: str) -> str:
    """Versions of this package, of Python and of others that are installed, in one line."""
    parts = [f"bgai {__version__}", f"Python {platform.python_version()}"]
    for package in packages:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(parts)


def processor() -> str:
    """How many CPUs there are, and of what kind."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [
            line
            for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.startswith("model name")
        ]
        name = models[0].partition(": ")[2] if models else name
    return f"{os.cpu_count()} × {name}"


def machine() -> str:
    """The processor, PyTorch's number of threads, and the GPU that PyTorch would use."""
    import torch

    parts = [processor(), f"{torch.get_num_threads()} threads"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)
