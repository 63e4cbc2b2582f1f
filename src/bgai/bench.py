"""What enlarging costs on this machine: seconds and memory, each case in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import psutil

from bgai.errors import EngineError
from bgai.upscale import Upscaler


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured: one image of noise, from memory to memory."""

    weights: str
    scale: int
    height: int
    width: int
    """Of the low-resolution image."""
    engine: str = "auto"
    device: str = "auto"
    tile: int | None = 0
    """As for `Upscaler`: 0 is the whole image, None a size by the free memory."""
    rounds: int = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one case."""

    engine: str
    device: str
    seconds: tuple[float, ...]
    """Of each round after a warm-up."""
    peak_bytes: int
    """Largest resident memory of the process; on a GPU the largest that PyTorch held there."""


def measure(case: Case) -> Cost:
    """Run a case in a new process, so that its memory is its own.

    Raises:
        EngineError: The process failed; its last line says why.
    """
    command = [sys.executable, "-m", "bgai.bench", json.dumps(asdict(case))]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [
            f"ended with {result.returncode}, most likely for want of memory"
        ]
        raise EngineError(f"{case.engine} on {case.device} at {case.width} x {case.height}: {lines[-1]}")
    found = json.loads(result.stdout.splitlines()[-1])
    return Cost(found["engine"], found["device"], tuple(found["seconds"]), found["peak_bytes"])


def run_case(case: Case) -> Cost:
    """Run a case in this process."""
    upscaler = Upscaler(case.scale, case.weights, case.engine, case.device, tile=case.tile)
    image = np.random.default_rng(0).integers(0, 256, (case.height, case.width, 3), np.uint8)
    upscaler.upscale(image)
    seconds = []
    for _ in range(case.rounds):
        start = time.perf_counter()
        upscaler.upscale(image)
        seconds.append(time.perf_counter() - start)
    return Cost(upscaler.engine.name, upscaler.engine.device, tuple(seconds), peak_bytes(upscaler.engine.device))


def peak_bytes(device: str) -> int:
    """Largest resident memory of this process so far; on a GPU the largest that PyTorch held there."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(arguments: Sequence[str]) -> None:
    print(json.dumps(asdict(run_case(Case(**json.loads(arguments[0]))))))


if __name__ == "__main__":
    main(sys.argv[1:])
