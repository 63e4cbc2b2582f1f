"""The engine native with each level of instruction sets that this machine runs, with one thread.

python benchmarks/levels.py [--size 96 --size 256] [--rounds 9]

Each library is compiled by g++ anew. Rounds alternate in one process; the figures are its processor's seconds, with
the working memory kept. The table says whether the levels give the same results to the last bit.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from bgai.benchmark.report import spread
from bgai.engines.native_build import LEVELS, compile_library, features_here, find_compiler
from bgai.engines.native_engine import NativeEngine
from bgai.engines.native_library import open_library
from bgai.processors import limit_threads
from bgai.weights.reading import blended_weights
from bgai.weights.sources import find_weights

SCALE = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    limit_threads(1)
    print("| level | size | seconds of the processor | of the first | the same bits |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        engines = {level: open_engine(level, Path(folder)) for level in levels_here()}
        for size in options.size or [96, 256]:
            compare(engines, size, options.rounds)


def levels_here() -> list[str]:
    """The best one first."""
    levels = LEVELS.get(platform.machine(), {})
    return [level for level, implied in levels.items() if implied <= set(features_here())]


def open_engine(level: str, folder: Path) -> NativeEngine:
    library = folder / f"{level}.so"
    library.write_bytes(compile_library(level, find_compiler()))
    return NativeEngine(*blended_weights(find_weights(None, SCALE)), open_library(library))


def compare(engines: dict[str, NativeEngine], size: int, rounds: int) -> None:
    image = np.random.default_rng(0).random((1, 3, size, size), np.float32)
    results = {level: engine(image) for level, engine in engines.items()}
    seconds: dict[str, list[float]] = {level: [] for level in engines}
    for _ in range(rounds):
        for level, engine in engines.items():
            started = time.process_time()
            engine(image)
            seconds[level].append(time.process_time() - started)
    first = next(iter(engines))
    for level, times in seconds.items():
        ratios = [time / of_first for time, of_first in zip(times, seconds[first], strict=True)]
        same = "yes" if np.array_equal(results[level], results[first]) else "no"
        print(f"| {level} | {size} x {size} | {spread(times)} | {spread(ratios)} | {same} |")


if __name__ == "__main__":
    main()
