"""Seconds and memory to enlarge one image with each engine, in turn, and how far their results lie apart.

python benchmarks/engines.py [--size 256] [--rounds 7] [--weights official] [--authors CLONE]
    [--json FILE] [--markdown FILE] [--plot FILE]

With a clone of the authors' repository their network runs too, eagerly, with the same weights; and for scale a product
of large matrices of as many operations as the network takes. All processes load PyTorch here: `bgai bench` shows the
memory of an engine alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from authors import authors_network
from progress import show
from torch.utils.flop_counter import FlopCounterMode

from bgai.benchmark.report import markdown, outputs
from bgai.benchmark.rounds import WARM_UPS, Comparison, compare
from bgai.benchmark.worker import Facts, Run, serve
from bgai.engines.selection import open_engine
from bgai.errors import BgaiError
from bgai.weights.checkpoint import load_network
from bgai.weights.sources import Weights, find_weights

SCALE = 4
HALF, AUTHORS, PRODUCT = "native, half", "authors", "matrix product"

Array = np.ndarray[Any, Any]


def main() -> None:
    options = parse()
    if options.network:
        return serve(lambda: begin(options))
    names = ["native", HALF, "openvino", "torch", *([AUTHORS] if options.authors else []), PRODUCT]
    settings = {"weights": Path(options.weights).name, "rounds": options.rounds, "warm_ups": WARM_UPS}
    large = options.size * SCALE
    title = f"{options.size} x {options.size} to {large} x {large}"
    find_weights(options.weights, SCALE)  # downloaded before anything is measured
    with outputs(options.json, options.markdown, options.plot) as write, tempfile.TemporaryDirectory() as folder:
        commands = {
            name: [sys.executable, *sys.argv, "--network", name, "--result", f"{folder}/{name}.npy"] for name in names
        }
        found = compare(title, commands, rounds=options.rounds, progress=show)
        settings["farthest_from_torch"] = farthest(Path(folder), found)
        write([found], settings)
    print(f"{markdown([found], settings)}")
    return None


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--weights", default="bgai", help="with --authors a .pth file, or official")
    parser.add_argument("--authors", type=Path, help="clone of the authors' repository")
    for output in ("--json", "--markdown", "--plot"):
        parser.add_argument(output, type=Path, metavar="FILE")
    parser.add_argument("--network", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def begin(options: argparse.Namespace) -> tuple[Run, Facts]:
    """Load one network, and keep its result for the image."""
    image = np.random.default_rng(0).random((1, 3, options.size, options.size), np.float32)
    weights = find_weights(options.weights, SCALE)
    if options.network == PRODUCT:
        return product(operations(load_network(weights.file), image)), {}
    enlarge = authors(weights, options.authors) if options.network == AUTHORS else ours(weights, options)
    np.save(options.result, enlarge(image))
    return lambda: enlarge(image), {}


def ours(weights: Weights, options: argparse.Namespace) -> Callable[[Array], Array]:
    half = options.network == HALF
    engine = open_engine(weights, "native" if half else options.network, "cpu", "half" if half else "float32")
    engine.prepare((options.size, options.size), 1)
    return engine


def authors(weights: Weights, clone: Path) -> Callable[[Array], Array]:
    network = authors_network(clone, weights.file, SCALE)

    @torch.inference_mode()
    def enlarge(image: Array) -> Array:
        result: Array = network(torch.from_numpy(image)).numpy()
        return result

    return enlarge


def operations(network: torch.nn.Module, image: Array) -> int:
    """Twice the multiply-adds."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), torch.device("meta"):
        network.to("meta")(torch.empty(image.shape))
    return int(counter.get_total_flops())


def product(operations: int) -> Run:
    inner = 4096
    a = torch.rand(operations // (2 * inner * inner), inner)
    b = torch.rand(inner, inner)
    return lambda: a @ b


def farthest(folder: Path, found: Comparison) -> str:
    """The largest difference of each result from that of the engine torch."""
    results = {
        result.name: np.load(file) for result in found.results if (file := folder / f"{result.name}.npy").exists()
    }
    expected = results.pop("torch", None)
    if expected is None:
        return "unknown"
    return " and ".join(f"{name} {np.abs(result - expected).max():.1e}" for name, result in results.items())


if __name__ == "__main__":
    try:
        main()
    except BgaiError as error:
        sys.exit(f"engines.py: {error}")
