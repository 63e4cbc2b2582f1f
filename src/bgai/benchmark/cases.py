"""What `bgai bench` measures: an engine that enlarges an image of noise, in its own process."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import get_args

import numpy as np
import psutil

from bgai.benchmark.rounds import Command, Result, compare
from bgai.benchmark.worker import Facts, Run, serve
from bgai.engines.selection import check_precision, choose
from bgai.errors import EngineError, UsageError
from bgai.types import EngineName, Precision
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.sources import Weights, find_weights

# Sizes, and their tiles as for `Upscaler`.
_SHORT_SET: dict[str, int | None] = {"128x128": 0, "256x256": 0, "640x480": None}
# Python puts the current folder before its own modules, for -c and -m alike: nothing that lies there is to be run.
_START = "import sys; sys.path[:] = filter(None, sys.path); from bgai.benchmark.cases import main; main(sys.argv[1:])"


@dataclass(frozen=True, slots=True)
class Case:
    """One of our engines that enlarges an image of noise, from memory to memory."""

    weights: str
    scale: int
    height: int
    width: int
    """Of the low-resolution image."""
    engine: EngineName = "auto"
    device: str = "auto"
    tile: int | None = 0
    """As for `Upscaler`: 0 is the whole image, None a size by the free memory."""
    precision: Precision = "float32"
    memory: int | None = None
    """As for `Upscaler`."""

    def command(self) -> Command:
        """The command of a process that runs this case."""
        return [sys.executable, "-c", _START, json.dumps(asdict(self))]


@dataclass(frozen=True, slots=True)
class Settings:
    """Which cases to plan; defaults are those of `Upscaler`."""

    sizes: Sequence[str] = ()
    """Of low-resolution images, such as `640x480`; none for a short set, whose small ones are not cut into tiles."""
    scale: int | None = None
    weights: str | None = None
    engines: Sequence[EngineName] = ()
    """The one to compare with first; none for those that run these weights here, each in the precisions it has."""
    device: str = "auto"
    tile: int | None = None
    precisions: Sequence[Precision] = ("float32",)
    """Those that are named run in each."""
    memory: int | None = None


def plan(settings: Settings) -> dict[str, dict[str, Command]]:
    """The commands for `compare`, by the title of each size and the name of each process.

    Raises:
        BgaiError: What `Upscaler` would refuse, or a size that is none.
    """
    weights = find_weights(settings.weights, settings.scale)
    engines = list(dict.fromkeys(settings.engines)) or _engines_here(weights, settings.device)
    for engine in engines:
        choose(weights, engine, settings.device)
    for precision in settings.precisions:
        check_precision(precision)
    pairs = [
        (engine, precision)
        for engine in engines
        for precision in dict.fromkeys(settings.precisions)
        if settings.engines or _runs_here(weights, engine, settings.device, precision)
    ]
    scale = Upscaler(settings.scale, weights, engines[0], settings.device, tile=settings.tile).scale
    planned: dict[str, dict[str, Command]] = {}
    for size in settings.sizes or _SHORT_SET:
        width, height = _read_size(size)
        tile = _SHORT_SET[size] if not settings.sizes and settings.tile is None else settings.tile
        case = Case(
            settings.weights or "bgai",
            scale,
            height,
            width,
            device=settings.device,
            tile=tile,
            memory=settings.memory,
        )
        planned[f"{width} x {height} to {width * scale} x {height * scale}"] = {
            engine if precision == "float32" else f"{engine}, {precision}": replace(
                case, engine=engine, precision=precision
            ).command()
            for engine, precision in pairs
        }
    return planned


def _read_size(text: str) -> tuple[int, int]:
    match = re.fullmatch("([1-9][0-9]*)x([1-9][0-9]*)", text)
    if not match:
        raise UsageError(f"size {text!r}: expected WIDTHxHEIGHT in pixels, such as 640x480", parameter="size")
    return int(match[1]), int(match[2])


def _engines_here(weights: Weights, device: str) -> list[EngineName]:
    """Engines that run the weights on the device; with `auto`, each on the device it would choose."""
    engines: list[EngineName] = [
        engine
        for engine in get_args(EngineName)
        # On the CPU, ONNX Runtime stands in for its other devices, and weights have to be exported first.
        if engine != "auto" and (engine, device) != ("onnxruntime", "cpu") and _runs_here(weights, engine, device)
    ]
    if not engines:
        choose(weights, "auto", device)  # says why there is none
    return engines or ["auto"]


def _runs_here(weights: Weights, engine: EngineName, device: str, precision: Precision = "float32") -> bool:
    try:
        choose(weights, engine, device, precision)
    except EngineError:
        return False
    return True


def measure(case: Case, rounds: int = 5) -> Result:
    """Time and memory of one case.

    Raises:
        EngineError: The process failed; its last line says why.
    """
    name = f"{case.engine} on {case.device} at {case.width} x {case.height}"
    (result,) = compare(name, {name: case.command()}, rounds=rounds).results
    if result.error:
        raise EngineError(f"{name}: {result.error}")
    return result


def limit_cpus(count: int) -> None:
    """Restrict this process, and those it starts from now on, to `count` CPUs; engines use a thread for each.

    Raises:
        UsageError: There are fewer, or the system cannot do that.
    """
    process = psutil.Process()
    if not hasattr(process, "cpu_affinity"):
        raise UsageError(
            f"{count} threads: this system cannot keep a process to some CPUs; leave it out", parameter="threads"
        )
    usable = process.cpu_affinity()
    if not 1 <= count <= len(usable):
        raise UsageError(
            f"{count} threads: expected 1 to {len(usable)}, the CPUs that are usable here", parameter="threads"
        )
    process.cpu_affinity(usable[:count])


def begin(case: Case) -> tuple[Run, Facts]:
    """Load a case in this process."""
    upscaler = Upscaler(
        case.scale,
        case.weights,
        case.engine,
        case.device,
        tile=case.tile,
        precision=case.precision,
        memory=case.memory,
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
