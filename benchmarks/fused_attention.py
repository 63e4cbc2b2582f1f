"""What a fused kernel would gain: the attentions of all blocks by a C++ kernel, and as the engine computes them.

python benchmarks/fused_attention.py [96x96 256x256] [--threads 1] [--rounds 7]

Both compute the eight blocks one after the other, each without its MLP, and keep maps from group to group as the network
does. Needs g++, which compiles the kernel for this processor. Times are seconds of the processor with one thread,
seconds of the clock with more; rounds alternate in this process.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.benchmark.report import spread
from bgai.engines import openvino_graph
from bgai.engines.openvino_graph import window_orders
from bgai.engines.openvino_runtime import SETTINGS, Model, Node, core, op
from bgai.errors import BgaiError
from bgai.network.config import NetworkConfig
from bgai.types import Size, Tensors, Tiles
from bgai.weights.reading import blended_weights
from bgai.weights.sources import find_weights

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = "-O3 -march=native -fopenmp -ffinite-math-only -fno-signed-zeros -fno-trapping-math -fno-math-errno".split()
MAP = (256, 64, 64, 64)  # numbers that the map of each of the four attentions has for a pixel

Run = Callable[[], NDArray[np.float32]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=["96x96", "256x256"], metavar="HEIGHTxWIDTH")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    config, tensors = blended_weights(find_weights("bgai", 4))
    print("| | engine, ms | kernel, ms | times as fast | largest difference |\n|---|---|---|---|---|")
    for size in (tuple(map(int, text.split("x"))) for text in options.sizes):
        features = np.random.default_rng(0).standard_normal((1, config.channels, *size), np.float32)
        engine, kernel = engine_run(tensors, config, features, options.threads), kernel_run(tensors, config, features)
        print(row(size, engine, kernel, options), flush=True)


def row(size: tuple[int, ...], engine: Run, kernel: Run, options: argparse.Namespace) -> str:
    difference = np.abs(engine() - kernel()).max() / np.abs(engine()).max()
    clock = time.process_time if options.threads == 1 else time.perf_counter
    times = [[1000 * seconds(run, clock) for run in (engine, kernel)] for _ in range(options.rounds)]
    slow, fast = zip(*times, strict=True)
    ratios = [first / second for first, second in times]
    return f"| {size[0]} × {size[1]} | {spread(slow)} | {spread(fast)} | {spread(ratios)} | {difference:.1e} |"


def seconds(run: Run, clock: Callable[[], float]) -> float:
    start = clock()
    run()
    return clock() - start


def engine_run(tensors: Tensors, config: NetworkConfig, features: Tiles, threads: int) -> Run:
    size = features.shape[2:]
    settings = {**SETTINGS, "INFERENCE_NUM_THREADS": threads}
    request: Any = core().compile_model(_Attentions(tensors, config, size, False).network(), "CPU", settings)
    request = request.create_infer_request()
    inputs = {"features": np.ascontiguousarray(features.transpose(0, 2, 3, 1)), **window_orders(config, size)}
    return lambda: request.infer(inputs)[0].transpose(0, 3, 1, 2)


class _Attentions(openvino_graph._Builder):
    """The engine's graph of nothing but blocks without their MLPs, 1, H, W, C to 1, H, W, C."""

    def network(self) -> Model:
        config = self._config
        given = self._input("features", (1, *self._size, config.channels), np.float32)
        x = op.transpose(given, _shape(0, 3, 1, 2))
        maps: list[openvino_graph._Maps] = [[[] for _ in range(4)] for _ in range(config.blocks)]
        for group in range(config.groups):
            for index, of_block in enumerate(maps):
                x = self._block(x, f"groups.{group}.blocks.{index}", index % 2 == 1, of_block)
        return Model([op.transpose(x, _shape(0, 2, 3, 1))], self._inputs, "attentions")

    def _mlp_in_parts(self, padded: Node, name: str, size: Node) -> Node:
        return op.slice(padded, _shape(0, 0), size, _shape(1, 1), _shape(2, 3))


_shape = openvino_graph._shape


def kernel_run(tensors: Tensors, config: NetworkConfig, features: Tiles) -> Run:
    """Raises BgaiError where the kernel is not made for this network, or cannot be compiled."""
    weights = [
        [packed(tensors, f"groups.{group}.blocks.{index}") for index in range(config.blocks)]
        for group in range(config.groups)
    ]
    height, width = features.shape[2:]
    H, W = height + -height % 16, width + -width % 16
    padded = np.zeros((H, config.channels, W), np.float32)
    scratch = np.empty((H, 80, W), np.float32)
    maps = [[np.empty(H * W * count, np.float32) for count in MAP] for _ in range(config.blocks)]
    call = library().attentions

    def run() -> NDArray[np.float32]:
        padded[:height, :, :width] = features[0].transpose(1, 0, 2)
        for group, of_group in enumerate(weights):
            for index, of_block in enumerate(of_group):
                pointers = (ctypes.c_void_p * 4)(*(each.ctypes.data for each in maps[index]))
                flags = index % 2 == 1, group > 0, group < config.groups - 1
                call(address(of_block), address(padded), address(scratch), pointers, height, width, *flags)
        return padded[None, :height, :, :width].transpose(0, 2, 1, 3)

    return run


def address(array: NDArray[np.float32]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@functools.cache
def library() -> ctypes.CDLL:
    """The compiled kernel."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise BgaiError("the kernel is compiled when it is needed, and there is no g++: install it")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.so")
        subprocess.run([compiler, "-std=c++17", *FLAGS, "-shared", "-fPIC", "-o", file, SOURCE], check=True)
        loaded = ctypes.CDLL(str(file))
    loaded.attentions.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int] * 2 + [ctypes.c_bool] * 3
    loaded.attentions.restype = None
    return loaded


def packed(tensors: Tensors, block: str) -> NDArray[np.float32]:
    """The weights of a block's attentions in the order of `Block` in the kernel."""
    return np.concatenate([array.astype(np.float32).ravel() for array in _arrays(tensors, block)])


def _arrays(tensors: Tensors, block: str) -> Iterator[NDArray[Any]]:
    """The scale and bias of the normalisation go into the convolutions that follow."""
    scale, shift = (tensors[f"{block}.norm1.{name}"].astype(np.float64) for name in ("weight", "bias"))
    for name in ("router", "local"):
        weight = tensors[f"{block}.{name}.weight"][:, :, 0, 0].astype(np.float64)
        yield from (weight * scale, tensors[f"{block}.{name}.bias"] + weight @ shift)
    yield from _attention(tensors, f"{block}.broadcast_attention")
    for index in range(3):
        gate = f"{block}.gates.{index}"
        both = [f"{gate}.reset", f"{gate}.update"]
        yield from (np.concatenate([tensors[f"{name}.{part}"] for name in both]) for part in ("weight", "bias"))
        yield from _named(tensors, f"{gate}.candidate", f"{gate}.extract")
        yield from _attention(tensors, f"{block}.local_attentions.{index}")
    yield from _named(tensors, f"{block}.project")


def _attention(tensors: Tensors, name: str) -> Iterator[NDArray[Any]]:
    yield from _named(tensors, f"{name}.query", f"{name}.value", f"{name}.position")
    # The first group has no map to integrate, and its temperature is in no file of the package's.
    yield tensors.get(f"{name}.temperature", np.ones(1))


def _named(tensors: Tensors, *names: str) -> Iterator[NDArray[Any]]:
    yield from (tensors[f"{name}.{part}"] for name in names for part in ("weight", "bias"))


if __name__ == "__main__":
    main()
