"""What a low-resolution pixel costs in pictures of several sizes, cut into tiles as `bgai upscale` cuts them.

python benchmarks/sizes.py [256x256 1920x1080] [--memory 1GiB --memory 4GiB] [--weights bgai] [--engine native]
    [--rounds 5]
"""

from __future__ import annotations

import argparse

from progress import show

from bgai.benchmark.cases import Settings, plan
from bgai.benchmark.report import spread
from bgai.benchmark.rounds import Command, compare
from bgai.engines.selection import ENGINES
from bgai.upscaling.memory_plan import read_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=["256x256", "1920x1080"], metavar="WIDTHxHEIGHT")
    parser.add_argument("--memory", action="append", help="as for bgai upscale; may be given several times")
    parser.add_argument("--weights", default="bgai")
    parser.add_argument("--engine", default="native", choices=ENGINES)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    commands = {
        name(size, memory): command(size, memory, options)
        for memory in options.memory or [None]
        for size in options.sizes
    }
    found = compare("a pixel", commands, rounds=options.rounds, progress=show)
    print("| size | tiles | microseconds a pixel | times the first, pair by pair | peak MiB |\n|---|---|---|---|---|")
    costs = []
    for result in found.results:
        width, height = map(int, result.name.split(",")[0].split("x"))
        costs.append([seconds / (width * height) * 1e6 for seconds in result.seconds])
        ratios = [cost / first for cost, first in zip(costs[-1], costs[0], strict=True)]
        tiles, peak = result.facts.get("tiles", "1"), result.peak_bytes / 2**20
        print(f"| {result.name} | {tiles} | {spread(costs[-1])} | {spread(ratios)} | {peak:,.0f} |")


def name(size: str, memory: str | None) -> str:
    return size if memory is None else f"{size}, {memory}"


def command(size: str, memory: str | None, options: argparse.Namespace) -> Command:
    bound = None if memory is None else read_memory(memory)
    settings = Settings(sizes=[size], weights=options.weights, engines=[options.engine], memory=bound)
    (by_engine,) = plan(settings).values()
    return by_engine[options.engine]


if __name__ == "__main__":
    main()
