"""Which devices of OpenVINO and ONNX Runtime this machine has: how exact each is, and how fast.

    .venv/bin/python benchmarks/devices.py

Each device, in each precision, enlarges a part of a picture; its result is compared with that of OpenVINO on the CPU in
float32, in levels of 255, and its time is the median of the rounds after a first one, which compiles. A device that
fails has its error in its row; the exit status is 1 if one fails or is off by more than its precision allows. ONNX
Runtime's devices need `bgai[onnxruntime,export]`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import get_args

import numpy as np

from bgai.engines.onnxruntime_engine import accelerators, has_onnxruntime
from bgai.engines.openvino_runtime import core
from bgai.engines.selection import open_engine
from bgai.errors import BgaiError
from bgai.pictures.reading import read_picture
from bgai.types import EngineName, Precision, Tiles
from bgai.weights.sources import find_weights

PICTURE = Path(__file__).parents[1] / "examples/cat.jpg"
ALLOWED = {"float32": 0.05, "half": 1.0}
"""Mean difference in levels of 255."""


def devices() -> list[tuple[EngineName, str]]:
    found: list[tuple[EngineName, str]] = [("openvino", name.lower()) for name in core().available_devices]
    if has_onnxruntime():
        found += [("onnxruntime", name) for name in (*accelerators(), "cpu")]
    return found


def picture(side: int) -> Tiles:
    """1 x 3 x side x side: the picture, repeated where it is too small."""
    pixels = np.asarray(read_picture(PICTURE).pixels)[..., :3]
    repeated = np.tile(pixels, (-(-side // pixels.shape[0]), -(-side // pixels.shape[1]), 1))[:side, :side]
    return np.ascontiguousarray(repeated.transpose(2, 0, 1)[None], np.float32) / np.float32(255)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--size", type=int, default=256, help="side of the picture in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    wish = parser.parse_args()
    weights, tile = find_weights("bgai", wish.scale), picture(wish.size)
    expected = open_engine(weights, "openvino", "cpu")(tile)
    failed = False
    print("| engine | device | precision | first, s | s | mean difference | largest |\n|---|---|---|---|---|---|---|")
    for engine, device in devices():
        for precision in get_args(Precision):
            row = f"| {engine} | {device} | {precision} |"
            try:
                first, seconds, difference = measure(engine, device, precision, tile, expected, wish)
            except BgaiError as error:
                failed = True
                print(f"{row} {error} |", flush=True)
                continue
            failed |= not difference.mean() <= ALLOWED[precision]
            print(f"{row} {first:.1f} | {seconds:.2f} | {difference.mean():.4f} | {difference.max():.2f} |", flush=True)
    return failed


def measure(
    engine: EngineName, device: str, precision: Precision, tile: Tiles, expected: Tiles, wish: argparse.Namespace
) -> tuple[float, float, Tiles]:
    """Seconds of the first run, of a later one, and the differences in levels."""
    running = open_engine(find_weights("bgai", wish.scale), engine, device, precision)
    times = []
    for _ in range(wish.rounds + 1):
        began = time.perf_counter()
        result = running(tile)
        times.append(time.perf_counter() - began)
    return times[0], statistics.median(times[1:]), np.abs(result.clip(0, 1) - expected.clip(0, 1)) * 255


if __name__ == "__main__":
    sys.exit(main())
