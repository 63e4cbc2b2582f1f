"""Seconds to enlarge one image with each engine, in turn, and how far their results lie apart.

python benchmarks/engines.py [--size 256] [--rounds 7] [--weights official] [--authors CLONE] [--json FILE]

With a clone of the authors' repository their network runs too, eagerly, with the same weights; and for scale a product
of large matrices of as many operations as the network takes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from authors import authors_class
from torch.utils.flop_counter import FlopCounterMode

from bgai import provenance
from bgai.checkpoint import load_network
from bgai.engines import open_engine
from bgai.weights import find_weights

SCALE = 4
Run = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--weights", default="bgai", help="with --authors a .pth file, or official")
    parser.add_argument("--authors", type=Path, help="clone of the authors' repository")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    image = np.random.default_rng(0).random((1, 3, options.size, options.size), np.float32)
    runs = sides(options, image)
    expected = runs["torch"]()
    differences = {name: largest_difference(run(), expected) for name, run in runs.items()}  # the warm-up
    for _ in range(2):
        runs["openvino"]()  # until a size is worth a graph of its own
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    print(table(seconds, differences, options))
    if options.json:
        record = {
            "size": options.size,
            "scale": SCALE,
            "seconds": seconds,
            "differences": differences,
            "machine": provenance.machine(),
            "versions": provenance.versions("openvino", "torch", "numpy"),
            "commit": provenance.commit(),
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n")


def sides(options: argparse.Namespace, image: np.ndarray[Any, Any]) -> dict[str, Run]:
    weights = find_weights(options.weights, SCALE)
    ours, eager = open_engine(weights, "openvino"), open_engine(weights, "torch", "cpu")
    runs: dict[str, Run] = {"openvino": lambda: ours(image), "torch": lambda: eager(image)}
    if options.authors:
        network = authors_class(options.authors)(upscale_factor=SCALE)
        network.load_state_dict(torch.load(weights.file, weights_only=True)["params_ema"])
        network.eval()

        @torch.inference_mode()
        def authors() -> Any:
            return network(torch.from_numpy(image)).numpy()

        runs["authors, eager"] = authors
    runs["matrix product"] = product(operations(load_network(weights.file), image))
    return runs


def operations(network: torch.nn.Module, image: np.ndarray[Any, Any]) -> int:
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


def largest_difference(result: Any, expected: Any) -> float | None:
    return float(np.abs(result - expected).max()) if result.shape == expected.shape else None


def table(seconds: dict[str, list[float]], differences: dict[str, float | None], options: argparse.Namespace) -> str:
    base = seconds["openvino"]
    lines = [
        f"{options.size} x {options.size} at x{SCALE}, {torch.get_num_threads()} threads of {os.cpu_count()} CPUs,"
        f" median and quartiles of {options.rounds} alternating rounds",
        "",
        "| | seconds | times openvino's, pair by pair | differs from torch by |",
        "|---|---|---|---|",
    ]
    for name, values in seconds.items():
        ratios = [value / reference for value, reference in zip(values, base, strict=True)]
        differing = "" if differences[name] is None else f"{differences[name]:.1e}"
        lines.append(f"| {name} | {spread(values)} | {spread(ratios)} | {differing} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
