"""The engine of the core install: the network's weights on the CPU through OpenVINO."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bgai._version import __version__
from bgai.engines import openvino_graph
from bgai.engines.base import run_error
from bgai.engines.graph_cache import GraphCache, trim_heap
from bgai.engines.openvino_graph import build_graph, window_orders
from bgai.engines.openvino_runtime import GUARD, SETTINGS, InferRequest, Tensor, core
from bgai.errors import EngineError
from bgai.free_memory import free_memory
from bgai.network.config import NetworkConfig
from bgai.types import Precision, Size, Tiles

_BYTES_PER_PIXEL: Mapping[Precision, int] = {"float32": 6_600, "half": 3_500}
# A graph for one size takes two seconds to compile, and then two thirds of the time and half of the memory of the graph
# for any size: it is made for tiles of more than so many pixels, and for images of so many in more than one tile. What
# ran before has no say: the two differ in the last digits, and so in single 8-bit samples.
_ANY_SIZE_PIXELS = 48_000
_WORTH_COMPILING_PIXELS = 150_000
_KEPT_GRAPHS = 4
# Sizes that the graph for any size may have met: it keeps some megabytes for each, and is opened anew after so many.
_MOST_SIZES = 64


class OpenVinoEngine:
    """Runs tiles of any size on all cores, in float32 or bfloat16; calls of several threads wait for each other."""

    name = "openvino"
    device = "cpu"

    def __init__(
        self,
        config: NetworkConfig,
        tensors: Mapping[str, NDArray[np.float32]],
        cache: Path | None,
        precision: Precision = "float32",
    ) -> None:
        """Load the weights; compiled graphs are kept in the folder `cache`.

        Raises:
            EngineError: The CPU has no arithmetic of this precision.
        """
        self.scale = config.scale
        self.bytes_per_pixel = _BYTES_PER_PIXEL[precision]
        self._config, self._tensors = config, tensors
        self._settings = dict(SETTINGS)
        if precision == "half":
            # Without it OpenVINO would compute in float32 and say nothing.
            if "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
                raise EngineError("precision half: this CPU has no bfloat16 arithmetic; use float32")
            self._settings["INFERENCE_PRECISION_HINT"] = "bf16"
        self._half = precision == "half"
        self._cache = GraphCache(cache)
        self._requests: dict[Size | None, InferRequest] = {}
        self._last: Size | None = None
        self._sizes: set[Size] = set()
        self._lock = threading.Lock()

    def prepare(self, size: Size, count: int) -> None:
        GUARD.check()
        with self._lock:
            self._request(_graph_size(size, count))

    def __call__(self, tiles: Tiles, count: int = 1) -> Tiles:
        GUARD.check()
        size = tiles.shape[-2], tiles.shape[-1]
        with self._lock:
            graph = _graph_size(size, max(count, len(tiles)))
            if graph is None:
                self._forget_sizes(size)
            request = self._request(graph)
            try:
                results = [self._enlarge(np.ascontiguousarray(tile[None]), request) for tile in tiles]
            except (RuntimeError, MemoryError) as error:
                raise run_error(error, "OpenVINO", size) from error
        return results[0] if len(results) == 1 else np.concatenate(results)

    def release(self) -> None:
        if GUARD.is_forked():
            return
        with self._lock:
            self._release()

    def rest(self) -> None:
        if GUARD.is_forked():
            return
        with self._lock:
            self._release()
            self._requests.clear()  # some 75 MiB each; from their files they are soon there again
            trim_heap()

    def free_memory(self) -> int:
        return free_memory()

    def _enlarge(self, tile: Tiles, request: InferRequest) -> Tiles:
        height, width = size = tile.shape[-2], tile.shape[-1]
        inputs = {"lr": tile, **window_orders(self._config, size)}
        result = np.empty((1, height * self.scale, width * self.scale, 3), np.float32)
        request.set_output_tensor(Tensor(result, shared_memory=True))
        request.infer(inputs, share_inputs=True, share_outputs=True)
        # The request would keep the result. Memory that nothing is written to is never taken.
        request.set_output_tensor(Tensor(np.empty_like(result), shared_memory=True))
        return result.transpose(0, 3, 1, 2)

    def _request(self, size: Size | None) -> InferRequest:
        """The request for images of one size, or of any size for None; working memory of the last one is freed."""
        if size not in self._requests:
            if len(self._requests) == _KEPT_GRAPHS:
                del self._requests[next(iter(self._requests))]
            try:
                self._requests[size] = self._compile(size)
            except (RuntimeError, MemoryError) as error:
                raise run_error(error, "OpenVINO", size) from error
        if self._last != size:
            self._release()
        self._last = size
        return self._requests[size]

    def _forget_sizes(self, size: Size) -> None:
        """Close the graph for any size if it has met too many, of which this one is none."""
        if len(self._sizes) == _MOST_SIZES and size not in self._sizes:
            self._requests.pop(None, None)
            self._sizes.clear()
            trim_heap()
        self._sizes.add(size)

    def _compile(self, size: Size | None) -> InferRequest:
        key = f"{self._config} {size} {digest_of_tensors(self._tensors)} {digest_of_builder()}"
        compiled = self._cache.compile(
            lambda: build_graph(self._tensors, self._config, size, self._half), key, self._settings
        )
        return compiled.create_infer_request()

    def _release(self) -> None:
        if self._last in self._requests:
            self._requests[self._last].get_compiled_model().release_memory()


def _graph_size(size: Size, count: int) -> Size | None:
    """The size to compile a graph for, given the number of tiles of an image; None for the graph for any size."""
    pixels = size[0] * size[1]
    return size if pixels > _ANY_SIZE_PIXELS or count * pixels > _WORTH_COMPILING_PIXELS else None


def digest_of_tensors(tensors: Mapping[str, NDArray[np.float32]]) -> str:
    """Digest of the names, shapes and values of weights."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].shape} ".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


def digest_of_builder() -> str:
    """Digest of the code that builds graphs, so that a graph of another version is not used."""
    try:
        return hashlib.sha256(Path(openvino_graph.__file__).read_bytes()).hexdigest()
    except OSError:  # installed without its source
        return __version__
