"""What a low-resolution pixel costs in pictures of several sizes, cut into tiles as `bgai upscale` cuts them.

python benchmarks/sizes.py [256x256 1920x1080] [--weights bgai] [--rounds 5]
"""

from __future__ import annotations

import argparse

from progress import show

from bgai.benchmark.cases import Settings, plan
from bgai.benchmark.report import spread
from bgai.benchmark.rounds import compare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=["256x256", "1920x1080"], metavar="WIDTHxHEIGHT")
    parser.add_argument("--weights", default="bgai")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    planned = plan(Settings(sizes=options.sizes, weights=options.weights, engines=["openvino"]))
    commands = {size: by_engine["openvino"] for size, by_engine in zip(options.sizes, planned.values(), strict=True)}
    found = compare("a pixel", commands, rounds=options.rounds, progress=show)
    print("| size | microseconds a pixel | times the first size's, pair by pair |\n|---|---|---|")
    costs = []
    for result in found.results:
        width, height = map(int, result.name.split("x"))
        costs.append([seconds / (width * height) * 1e6 for seconds in result.seconds])
        ratios = [cost / first for cost, first in zip(costs[-1], costs[0], strict=True)]
        print(f"| {result.name} | {spread(costs[-1])} | {spread(ratios)} |")


if __name__ == "__main__":
    main()
