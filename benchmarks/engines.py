"""Seconds to enlarge one image with each engine, in turn, and how far their results lie apart.

python benchmarks/engines.py [--size 256] [--rounds 5]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from bgai.engines import Tiles, has_torch, open_engine
from bgai.weights import find_weights


def onnxruntime_engine(onnx: str) -> Callable[[Tiles], Tiles]:
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx)
    return lambda tiles: session.run(None, {"lr": tiles})[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    weights = find_weights(None, 4)
    engines: dict[str, Callable[[Tiles], Tiles]] = {"openvino": open_engine(weights, "openvino")}
    if importlib.util.find_spec("onnxruntime"):
        engines["onnxruntime"] = onnxruntime_engine(str(weights.onnx))
    if has_torch():
        engines["torch"] = open_engine(weights, "torch", "cpu")
    image = np.random.default_rng(0).random((1, 3, options.size, options.size), np.float32)
    results = {name: run(image) for name, run in engines.items()}  # the warm-up
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(options.rounds):
        for name, run in engines.items():
            seconds[name].append(timed(partial(run, image)))
    print(
        f"{options.size} x {options.size} at x4, {os.cpu_count()} CPUs, median of {options.rounds} alternating rounds"
    )
    base = statistics.median(seconds["openvino"])
    for name, values in seconds.items():
        median = statistics.median(values)
        difference = np.abs(results[name] - results["openvino"]).max()
        spread = f"{min(values):.2f} to {max(values):.2f} s"
        print(f"{name:12} {median:6.2f} s ({spread}), {median / base:.2f} of openvino's, differs by {difference:.1e}")


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
