"""What a fused kernel would gain: the network's blocks by `fused_block.cpp`, and as the engine computes them.

python benchmarks/fused_block.py [96x96 256x256] [--part blocks] [--threads 1] [--rounds 7] [--no-network]

The blocks, with or without their MLPs, are computed one after the other, with attention maps kept from group to group
as the network does; and the network once more with the kernel in the place of its blocks. The kernel is compiled by g++
for this processor when the script starts; `CXXFLAGS` may hold more options. Rounds alternate in this process. Times are
seconds of the processor for one thread, and of the clock for more.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.benchmark.report import spread
from bgai.engines import openvino_graph
from bgai.engines.openvino_graph import build_graph, window_orders
from bgai.engines.openvino_runtime import SETTINGS, Model, Node, Op, core, op
from bgai.errors import BgaiError
from bgai.network.config import NetworkConfig
from bgai.types import Size, Tensors
from bgai.weights.reading import blended_weights
from bgai.weights.sources import find_weights

SOURCE = Path(__file__).with_suffix(".cpp")
# The kernel rounds by adding a large number, so sums must stay in their order: no -ffast-math.
FLAGS = "-std=c++17 -O3 -march=native -fopenmp -ffinite-math-only -fno-signed-zeros -fno-trapping-math -fno-math-errno"
MAP = (256, 64, 64, 64)  # numbers that the map of each of a block's four attentions has for a pixel
SCRATCH = 132  # channels: the sum of features and attentions, the inputs of the gates, and the attentions' outputs

Array = NDArray[np.float32]
Run = Callable[[], Array]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=["96x96", "256x256"], metavar="HEIGHTxWIDTH")
    parser.add_argument("--part", choices=["attentions", "blocks"], default="blocks", help="without or with MLPs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-network", action="store_true", help="the part alone, which takes half of the memory")
    options = parser.parse_args()
    head = [options.part, "by the kernel", "times as fast"]
    if not options.no_network:
        head += ["network", "with the kernel", "times as fast", "difference"]
    print(f"| seconds | {' | '.join(head)} |\n|{'---|' * (len(head) + 1)}")
    for text in options.sizes:
        height, width = map(int, text.split("x"))
        print(f"| {height} × {width} | {' | '.join(measure((height, width), options))} |", flush=True)


def measure(size: Size, options: argparse.Namespace) -> list[str]:
    config, tensors = blended_weights(find_weights("bgai", 4))
    random, orders = np.random.default_rng(0), window_orders(config, size)
    kernel = Kernel(tensors, config, size, options.part == "blocks", options.threads)
    features = random.standard_normal((1, *size, config.channels), np.float32)
    blocks = _Blocks(tensors, config, size, kernel.whole).network()
    by_engine = engine(blocks, {"features": features, **orders}, options.threads)
    pairs: list[tuple[Run, Run]] = [(by_engine, functools.partial(kernel.all_blocks, features))]
    difference = []
    if not options.no_network:
        inputs = {"lr": random.random((1, 3, *size), np.float32), **orders}
        graphs = build_graph(tensors, config, size), _Fused(tensors, config, size, kernel).network()
        plain, fused = (engine(graph, inputs, options.threads) for graph in graphs)
        difference.append(f"{np.abs(plain() - fused()).max():.0e}")
        pairs.append((plain, fused))
    return [*compare(pairs, options.rounds, options.threads), *difference]


def compare(pairs: Sequence[tuple[Run, Run]], rounds: int, threads: int) -> list[str]:
    """Seconds of both runs of each pair, and their ratio in each round; all runs take turns."""
    clock = time.process_time if threads == 1 else time.perf_counter
    times: list[list[tuple[float, float]]] = [[] for _ in pairs]
    for _ in range(rounds + 1):
        for (slow, fast), of_pair in zip(pairs, times, strict=True):
            of_pair.append((seconds(slow, clock), seconds(fast, clock)))
    columns = []
    for of_pair in times:
        first, second = zip(*of_pair[1:], strict=True)  # the first round is a warm-up
        columns += [first, second, [slow / fast for slow, fast in of_pair[1:]]]
    return [spread(column) for column in columns]


def seconds(run: Run, clock: Callable[[], float]) -> float:
    start = clock()
    run()
    return clock() - start


def engine(model: Model, inputs: Mapping[str, NDArray[Any]], threads: int) -> Run:
    settings = {**SETTINGS, "INFERENCE_NUM_THREADS": threads}
    request: Any = core().compile_model(model, "CPU", settings).create_infer_request()
    own = {each.get_any_name(): inputs[each.get_any_name()] for each in model.inputs}
    return lambda: request.infer(own)[0]


class _Blocks(openvino_graph._Builder):
    """The engine's graph of nothing but the blocks, with or without their MLPs: 1, H, W, C to 1, H, W, C."""

    def __init__(self, tensors: Tensors, config: NetworkConfig, size: Size, whole: bool) -> None:
        super().__init__(tensors, config, size, bfloat16=False)
        self._whole = whole

    def network(self) -> Model:
        config = self._config
        x = self._input("features", (1, *(self._size or ()), config.channels), np.float32)
        x = op.transpose(x, openvino_graph._shape(0, 3, 1, 2))
        maps: list[openvino_graph._Maps] = [[[] for _ in range(4)] for _ in range(config.blocks)]
        for group, index in np.ndindex(config.groups, config.blocks):
            x = self._block(x, f"groups.{group}.blocks.{index}", index % 2 == 1, maps[index])
        return Model([op.transpose(x, openvino_graph._shape(0, 2, 3, 1))], self._inputs, "blocks")

    def _mlp_in_parts(self, padded: Node, name: str, size: Node) -> Node:
        if self._whole:
            return super()._mlp_in_parts(padded, name, size)
        shape = openvino_graph._shape
        return op.slice(padded, shape(0, 0), size, shape(1, 1), shape(2, 3))


class _Fused(openvino_graph._Builder):
    """The engine's graph with the kernel in the place of its blocks, or of their attentions."""

    def __init__(self, tensors: Tensors, config: NetworkConfig, size: Size, kernel: Kernel) -> None:
        super().__init__(tensors, config, size, bfloat16=False)
        self._kernel = kernel

    def _block(self, features: Node, name: str, shifted: bool, maps: openvino_graph._Maps) -> Node:
        group, index = (int(part) for part in name.split(".") if part.isdecimal())
        shape = openvino_graph._shape
        channels_last = op.transpose(features, shape(0, 2, 3, 1))  # as convolutions hold them
        x = op.transpose(_Operator(self._kernel, group, index, [channels_last]), shape(0, 3, 1, 2))
        return x if self._kernel.whole else self._mlp_in_parts(x, name, openvino_graph._size_of(features))


class _Operator(Op):  # type: ignore[misc]  # OpenVINO gives mypy no types
    """A block by the kernel, as an operator of OpenVINO's: 1, H, W, C to 1, H, W, C."""

    def __init__(self, kernel: Kernel, group: int, index: int, inputs: list[Node]) -> None:
        self._kernel, self._place = kernel, (group, index)
        super().__init__(self, inputs)

    def validate_and_infer_types(self) -> None:
        self.set_output_type(0, self.get_input_element_type(0), self.get_input_partial_shape(0))

    def clone_with_new_inputs(self, inputs: list[Node]) -> _Operator:
        return _Operator(self._kernel, *self._place, inputs)

    def has_evaluate(self) -> bool:
        return True

    def evaluate(self, outputs: list[Any], inputs: list[Any]) -> bool:
        self._kernel.block(inputs[0].data, outputs[0].data, *self._place)
        return True


class Kernel:
    """The blocks of a network for images of one size, with the memory that they need; `whole` with their MLPs.

    Raises:
        BgaiError: The network has other settings than the paper's, or the kernel cannot be compiled.
    """

    def __init__(
        self, tensors: Tensors, config: NetworkConfig, size: Size, whole: bool = True, threads: int = 1
    ) -> None:
        if config != NetworkConfig(config.scale):
            raise BgaiError("the fused kernel computes networks with the paper's settings alone: use other weights")
        self._config, self._size = config, size
        self.whole, self._threads = whole, threads
        self._call = compiled().block
        H, W = (side + -side % 16 for side in size)
        self._step = 16 * ((W // 16 + 1) | 1)  # between the rows of a channel: an odd number of cache lines
        self._scratch = np.zeros((H, SCRATCH, self._step), np.float32)
        self._maps = [[np.empty(H * W * count, np.float32) for count in MAP] for _ in range(config.blocks)]
        names = np.ndindex(config.groups, config.blocks)
        self._weights = {(group, index): packed(tensors, f"groups.{group}.blocks.{index}") for group, index in names}

    def all_blocks(self, features: Array) -> Array:
        """Features to features, 1, H, W, C, by one block after the other."""
        out = np.empty_like(features)
        for place, group_and_index in enumerate(self._weights):
            self.block(out if place else features, out, *group_and_index)
        return out

    def block(self, features: Array, out: Array, group: int, index: int) -> None:
        """One block; the kernel has kept the maps of the group before, which this one integrates."""
        maps = (ctypes.c_void_p * 4)(*(each.ctypes.data for each in self._maps[index]))
        arrays = (each.ctypes.data for each in (self._weights[group, index], features, out, self._scratch))
        shifted, integrate, keep = index % 2 == 1, group > 0, group < self._config.groups - 1
        self._call(*arrays, maps, *self._size, self._step, shifted, integrate, keep, self.whole, self._threads)


@functools.cache
def compiled() -> ctypes.CDLL:
    """The kernel as a library.

    Raises:
        BgaiError: g++ is missing or does not compile it.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise BgaiError(f"{SOURCE.name} has to be compiled, and g++ was not found: install g++")
    flags = [*FLAGS.split(), *os.environ.get("CXXFLAGS", "").split()]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "fused_block.so")
        if subprocess.run([compiler, *flags, "-shared", "-fPIC", "-o", file, SOURCE], check=False).returncode:
            raise BgaiError(f"{SOURCE.name} could not be compiled (see above): it needs GCC 12 or newer, with OpenMP")
        library = ctypes.CDLL(str(file))
    library.block.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_int] * 3 + [ctypes.c_bool] * 4 + [ctypes.c_int]
    library.block.restype = None
    return library


def packed(tensors: Tensors, block: str) -> Array:
    """The weights of a block, in the order of the kernel's structures."""
    return np.concatenate([array.astype(np.float32).ravel() for array in _arrays(tensors, block)])


def _arrays(tensors: Tensors, block: str) -> Iterator[NDArray[Any]]:
    yield from _normed(tensors, f"{block}.router", f"{block}.norm1")
    yield from _normed(tensors, f"{block}.local", f"{block}.norm1")
    yield from _attention(tensors, f"{block}.broadcast_attention")
    for index in range(3):
        gate = f"{block}.gates.{index}"
        both = [list(_named(tensors, f"{gate}.{name}")) for name in ("reset", "update")]
        yield from map(np.concatenate, zip(*both, strict=True))
        yield from _named(tensors, f"{gate}.candidate", f"{gate}.extract")
        yield from _attention(tensors, f"{block}.local_attentions.{index}")
    yield from _named(tensors, f"{block}.project")
    yield from _normed(tensors, f"{block}.mlp.widen", f"{block}.norm2")
    convolutions = "square", "tall", "wide", "twice.0", "twice.1", "narrow"
    yield from _named(tensors, *(f"{block}.mlp.{name}" for name in convolutions))


def _attention(tensors: Tensors, name: str) -> Iterator[NDArray[Any]]:
    yield from _named(tensors, f"{name}.query", f"{name}.value", f"{name}.position")
    yield tensors[f"{name}.temperature"]


def _normed(tensors: Tensors, name: str, norm: str) -> Iterator[NDArray[Any]]:
    """A convolution that includes the scale and bias of the normalisation before it."""
    weight = tensors[f"{name}.weight"][:, :, 0, 0].astype(np.float64)
    yield weight * tensors[f"{norm}.weight"]
    yield tensors[f"{name}.bias"] + weight @ tensors[f"{norm}.bias"]


def _named(tensors: Tensors, *names: str) -> Iterator[NDArray[Any]]:
    yield from (tensors[f"{name}.{part}"] for name in names for part in ("weight", "bias"))


if __name__ == "__main__":
    main()
