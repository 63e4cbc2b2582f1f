"""What lower precisions bring on this CPU: seconds of the engine's graph in each, in turn, and PSNR-Y lost on a set.

python benchmarks/precision.py HR LR [--weights bgai] [--size 256] [--rounds 9]

HR and LR are folders of pictures of the same names, whose results are compared as 8-bit pictures too. In INT8 the
ranges are made up, so that only its time counts.
"""

from __future__ import annotations

import argparse
import functools
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.benchmark.report import spread
from bgai.benchmark.rounds import alternate
from bgai.engines.openvino_graph import build_graph, window_orders
from bgai.engines.openvino_runtime import SETTINGS, Model, Node, Output, core, op
from bgai.evaluation.metrics import psnr
from bgai.network.config import NetworkConfig
from bgai.pictures.reading import read_rgb8
from bgai.types import Size
from bgai.weights.reading import blended_weights
from bgai.weights.sources import find_weights

SCALE = 4

Image = NDArray[np.uint8]
Plane = NDArray[np.float32]
Run = Callable[[Plane], Plane]
Build = Callable[..., Model]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hr", type=Path)
    parser.add_argument("lr", type=Path)
    parser.add_argument("--weights", default="bgai")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    weights = find_weights(options.weights, SCALE)
    config, tensors = blended_weights(weights)

    build = functools.partial(build_graph, tensors, config)
    size = options.size, options.size
    runs = {
        "float32": compiled(build(size), "f32"),
        "bfloat16": compiled(build(size, bfloat16=True), "bf16"),
        "INT8 convolutions": compiled(quantised(build(size)), "f32"),
    }
    seconds, differences = measure(runs, size, options.rounds)
    print("| | seconds | times as fast, pair by pair | largest difference |\n|---|---|---|---|")
    for name, values in seconds.items():
        ratios = [base / value for base, value in zip(seconds["float32"], values, strict=True)]
        differing = "" if name.startswith("INT8") else f"{differences[name]:.1e}"
        print(f"| {name} | {spread(values)} | {spread(ratios)} | {differing} |")
    scores = [score(build, options.hr / file.name, file) for file in sorted(options.lr.iterdir())]
    full, low, mean, _ = (statistics.mean(values) for values in zip(*scores, strict=True))
    worst = max(ours - theirs for ours, theirs, *_ in scores)
    largest = max(score[-1] for score in scores)
    print(
        f"\nPSNR-Y of {len(scores)} pictures: {full:.4f} dB in float32, {low:.4f} in bfloat16, at most {worst:.4f} less"
    )
    print(f"8-bit samples are off by {mean:.2f} levels on average, by {largest} at most")


def compiled(model: Model, precision: str) -> Run:
    settings = {**SETTINGS, "INFERENCE_PRECISION_HINT": precision}
    request: Any = core().compile_model(model, "CPU", settings).create_infer_request()

    def run(lr: Plane) -> Plane:
        sr: Plane = request.infer({"lr": lr, **window_orders(NetworkConfig(SCALE), lr.shape[2:])})[0]
        return sr

    return run


def quantised(model: Model) -> Model:
    """All convolutions on 8-bit integers, activations from -8 to 8, weights by their largest in each filter."""
    made: dict[str, Node] = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() not in ("Convolution", "GroupConvolution"):
            continue
        x, weights = node.input_value(0), node.input_value(1)
        name = f"{x.get_node().get_friendly_name()} {x.get_index()}"
        if name not in made:
            made[name] = levels(x, np.full(1, 8, np.float32), 256)
        data = weights.get_node().data
        largest = np.abs(data).max(axis=tuple(range(data.ndim - 3, data.ndim)), keepdims=True)
        node.input(0).replace_source_output(made[name].output(0))
        node.input(1).replace_source_output(levels(weights, largest, 255).output(0))
    return model


def levels(x: Output, largest: NDArray[np.float32], count: int) -> Node:
    low = op.constant(-largest)
    high = op.constant(largest if count % 2 else largest * np.float32(127 / 128))
    return op.fake_quantize(x, low, high, low, high, count)


def measure(runs: Mapping[str, Run], size: Size, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    lr = np.random.default_rng(0).random((1, 3, *size), np.float32)
    results = {name: run(lr).copy() for name, run in runs.items()}  # the warm-up
    differences = {name: float(np.abs(result - results["float32"]).max()) for name, result in results.items()}
    seconds = alternate({name: functools.partial(run, lr) for name, run in runs.items()}, rounds=rounds, warm_ups=0)
    return seconds, differences


def score(build: Build, original: Path, file: Path) -> tuple[float, float, float, int]:
    """PSNR-Y in float32 and in bfloat16; how far apart the two are in levels of 255, on average and at most."""
    lr = read_rgb8(file)
    height, width = lr.shape[:2]
    hr = read_rgb8(original)[: height * SCALE, : width * SCALE]
    tile = np.ascontiguousarray((lr.astype(np.float32) / np.float32(255)).transpose(2, 0, 1)[None])
    full = rounded(compiled(build((height, width)), "f32")(tile))
    low = rounded(compiled(build((height, width), bfloat16=True), "bf16")(tile))
    apart = np.abs(full.astype(int) - low)
    return psnr(full, hr, SCALE), psnr(low, hr, SCALE), float(apart.mean()), int(apart.max())


def rounded(sr: Plane) -> Image:
    image: Image = np.rint(np.clip(sr[0], 0, 1) * 255).astype(np.uint8)
    return image


if __name__ == "__main__":
    main()
