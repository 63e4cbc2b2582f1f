"""Speed and error where some steps of the network are computed in float32 and all others in bfloat16.

python benchmarks/mixed_precision.py PICTURES… [--weights bgai official] [--scale 4] [--side 256] [--rounds 5]

The image is a mosaic of parts of the pictures in these folders. Errors are those of 8-bit samples, in levels of 255;
times are CPU seconds of one thread, the fastest of alternating rounds. OpenVINO keeps the precision of operators with
an attribute that only its files can give them, so that the graph goes through a file.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from named_graph import build_named
from numpy.typing import NDArray

from bgai.engines.openvino_graph import build_graph, window_orders
from bgai.engines.openvino_runtime import SETTINGS, Model, core, save_model
from bgai.network.config import NetworkConfig
from bgai.pictures.reading import read_rgb8
from bgai.types import Tensors, Tiles
from bgai.weights.reading import blended_weights
from bgai.weights.sources import find_weights

PART = 64  # pixels, the side of each part of the mosaic
_SUMS = ("Add", "Subtract", "Multiply")
_ELEMENTWISE = (*_SUMS, "Gelu", "Sigmoid", "Tanh")
_NO_ARITHMETIC = ("ShapeOf", "Gather", "Reshape", "Transpose", "Concat", "Slice", "Parameter", "Pad")
_KEEP = '<rt_info><attribute name="DisablePrecisionConversion" version="0" value="dynamic:f16" /></rt_info>'
# Steps by their paths (`named_graph`); those that end in + for their sums alone. Each row adds to those before it.
STEPS = {
    "none": [],
    "first and last convolutions, fusion": ["^convolve", "^mix refine", "^project refine.join$+", "^$"],
    "sums, normalisations, first and last convolutions of each group": [
        "spread$",
        "^group [^/]*$",
        "normalise$",
        "^group [^/]*/block [^/]*$+",
        "mlp [^/]*$+",
    ],
    "mixing blocks, projections of each block": [
        "^group [^/]*/(mix|project)",
        "(router|local)$",
        r"project [^/]*\.project$",
    ],
    "MLPs": ["/mlp "],
}

Run = Callable[[], NDArray[np.float32]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="+", help="folders")
    parser.add_argument("--weights", nargs="+", default=["bgai", "official"])
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    image = mosaic([file for folder in options.pictures for file in sorted(folder.iterdir())], options.side)
    for weights in options.weights:
        config, tensors = blended_weights(find_weights(weights, options.scale))
        exact = compiled(build_graph(tensors, config, image.shape[2:]), "f32", config, image)
        expected = exact()
        print(f"\n**{weights} ×{options.scale}**\n")
        print("| float32 from here on, and all above | RMS | off by more than one of 10,000 | most | times as fast |")
        print("|---|---|---|---|---|")
        chosen: list[str] = []
        for name, steps in STEPS.items():
            chosen += steps
            run = compiled(mixed(tensors, config, image, chosen), "bf16", config, image)
            errors, ratio = compare(expected, run()), speed(exact, run, options.rounds)
            print(f"| {name} | {errors} | {ratio:.2f} |", flush=True)


def mosaic(files: Sequence[Path], side: int) -> Tiles:
    """1 x 3 x side x side, of parts at random places."""
    random = np.random.default_rng(0)
    pictures = [picture for picture in map(read_rgb8, files) if min(picture.shape[:2]) >= PART]
    image = np.zeros((side, side, 3), np.float32)
    for index, (top, left) in enumerate(np.ndindex(side // PART, side // PART)):
        picture = pictures[index * len(pictures) // (side // PART) ** 2]
        y, x = (int(random.integers(0, length - PART + 1)) for length in picture.shape[:2])
        place = slice(top * PART, (top + 1) * PART), slice(left * PART, (left + 1) * PART)
        image[place] = picture[y : y + PART, x : x + PART] / np.float32(255)
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def compiled(model: Model, precision: str, config: NetworkConfig, image: Tiles) -> Run:
    settings = {**SETTINGS, "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": "1"}
    request: Any = core().compile_model(model, "CPU", settings).create_infer_request()
    inputs = {"lr": image, **window_orders(config, image.shape[2:])}
    return lambda: request.infer(inputs)[0].copy()


def mixed(tensors: Tensors, config: NetworkConfig, image: Tiles, steps: Sequence[str]) -> Model:
    """The graph with the operators of some steps marked to stay in float32."""
    model, names = build_named(tensors, config, image.shape[2:], bfloat16=True)
    kept: set[str] = set()
    for node in model.get_ordered_ops():
        name, kind = node.get_friendly_name(), node.get_type_name()
        if name not in kept and not is_of(steps, names, name, kind):
            continue
        kept.add(name)
        # No convolution takes float32 and gives bfloat16: what is fused with it stays in float32 as well.
        if kind in (*_ELEMENTWISE, "Convolution", "GroupConvolution"):
            users = [user.get_node() for user in node.output(0).get_target_inputs()]
            kept |= {user.get_friendly_name() for user in users if user.get_type_name() in _ELEMENTWISE}
    return marked(model, kept)


def is_of(steps: Sequence[str], names: Mapping[str, str], name: str, kind: str) -> bool:
    if name not in names or kind in _NO_ARITHMETIC:
        return False
    return any(re.search(step.rstrip("+"), names[name]) for step in steps if not step.endswith("+") or kind in _SUMS)


def marked(model: Model, names: set[str]) -> Model:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "graph.xml")
        save_model(model, file, compress_to_fp16=False)

        def mark(layer: re.Match[str]) -> str:
            return layer[0] + _KEEP * (layer[1] in names)

        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(r'<layer id="\d+" name="([^"]*)"[^>]*>(?:\s*<data[^>]*>)?', mark, text), "utf-8")
        return core().read_model(file)


def compare(expected: NDArray[np.float32], result: NDArray[np.float32]) -> str:
    """RMS, samples of 10,000 that are off by more than one level, and the most that one is off."""
    exact, other = (np.clip(each, 0, 1) * np.float32(255) for each in (expected, result))
    rms = float(np.sqrt(np.mean((exact - other) ** 2)))
    levels = np.abs(np.rint(exact) - np.rint(other))
    return f"{rms:.3f} | {np.mean(levels > 1) * 1e4:.1f} | {levels.max():.0f}"


def speed(exact: Run, run: Run, rounds: int) -> float:
    fastest = {exact: float("inf"), run: float("inf")}
    for _ in range(rounds):
        for each in fastest:
            start = time.process_time()
            each()
            fastest[each] = min(fastest[each], time.process_time() - start)
    return fastest[exact] / fastest[run]


if __name__ == "__main__":
    main()
