"""The engine of the core install: the network's weights on the CPU through OpenVINO."""

from __future__ import annotations

import ctypes
import functools
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import psutil
from numpy.typing import NDArray

from bgai.atomic_files import make_folder
from bgai.engines.openvino_graph import build_graph, window_orders
from bgai.errors import EngineError
from bgai.network.config import NetworkConfig
from bgai.types import Size, Tiles

SETTINGS = {
    # Left alone, OpenVINO computes in bfloat16 or float16 where the CPU can, off by whole 8-bit levels.
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
}
_BYTES_PER_PIXEL = {"float32": 6_600, "half": 3_500}
# A graph for one size takes two seconds to compile, and then two thirds of the time and half of the memory of the graph
# for any size: it is made for tiles of more than so many pixels, and for sizes that were met that often.
_ANY_SIZE_PIXELS = 48_000
_WORTH_COMPILING_PIXELS = 150_000
_KEPT_GRAPHS = 4
_KEPT_FILES = 64


@functools.cache
def core() -> openvino.Core:
    """The one of this process. It is never freed: OpenVINO frees with it what the process handles signals on."""
    return openvino.Core()


class OpenVinoEngine:
    """Runs tiles of any size on all cores, in float32 or bfloat16."""

    name = "openvino"
    device = "cpu"

    def __init__(
        self,
        config: NetworkConfig,
        tensors: Mapping[str, NDArray[np.float32]],
        cache: Path | None,
        precision: str = "float32",
    ) -> None:
        """Make ready to run; compiled graphs are kept in the folder `cache`.

        Raises:
            EngineError: The CPU has no arithmetic of this precision.
        """
        self.scale = config.scale
        self.bytes_per_pixel = _BYTES_PER_PIXEL[precision]
        self._config, self._tensors = config, tensors
        self._settings: dict[str, str] = dict(SETTINGS)
        if precision == "half":
            # Without it OpenVINO would compute in float32 and say nothing.
            if "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
                raise EngineError("precision half: this CPU has no bfloat16 arithmetic; use float32")
            self._settings["INFERENCE_PRECISION_HINT"] = "bf16"
        self._half = precision == "half"
        self._cache = make_folder(cache) if cache else None
        if self._cache:
            self._settings["CACHE_DIR"] = str(self._cache)
        self._requests: dict[Size | None, Any] = {}
        self._last: Size | None = None
        self._work: Counter[Size] = Counter()

    def prepare(self, size: Size, count: int) -> None:
        pixels = size[0] * size[1]
        if pixels > _ANY_SIZE_PIXELS or self._work[size] + count * pixels > _WORTH_COMPILING_PIXELS:
            self._request(size)
        elif size not in self._requests:
            self._request(None)

    def __call__(self, tiles: Tiles) -> Tiles:
        size = tiles.shape[-2], tiles.shape[-1]
        self.prepare(size, len(tiles))
        self._work[size] += len(tiles) * size[0] * size[1]
        try:
            results = [self._enlarge(np.ascontiguousarray(tile[None]), size) for tile in tiles]
        except (RuntimeError, MemoryError):
            raise no_memory(size) from None
        return results[0] if len(results) == 1 else np.concatenate(results)

    def release(self) -> None:
        if self._last in self._requests:
            self._requests[self._last].get_compiled_model().release_memory()

    def rest(self) -> None:
        self._requests.clear()  # some 75 MiB each; from their files they are soon there again
        _trim_heap()

    def free_memory(self) -> int:
        return psutil.virtual_memory().available

    def _enlarge(self, tile: Tiles, size: Size) -> Tiles:
        request = self._request(size if size in self._requests else None)
        inputs = {"lr": tile, **window_orders(self._config, size)}
        result = np.empty((1, size[0] * self.scale, size[1] * self.scale, 3), np.float32)
        request.set_output_tensor(openvino.Tensor(result, shared_memory=True))
        request.infer(inputs, share_inputs=True, share_outputs=True)
        # The request would keep the result; what nobody writes to takes no memory.
        request.set_output_tensor(openvino.Tensor(np.empty_like(result), shared_memory=True))
        return result.transpose(0, 3, 1, 2)

    def _request(self, size: Size | None) -> Any:
        """What runs images of a size, or with None of any; no other holds memory."""
        if size not in self._requests:
            if len(self._requests) == _KEPT_GRAPHS:
                del self._requests[next(iter(self._requests))]
            model = build_graph(self._tensors, self._config, size, self._half)
            try:
                self._requests[size] = core().compile_model(model, "CPU", self._settings).create_infer_request()
            except RuntimeError:
                raise no_memory(size) from None
            del model
            _trim_heap()
            if self._cache:
                _remove_oldest(self._cache)
        if self._last != size:
            self.release()
        self._last = size
        return self._requests[size]


def no_memory(size: Size | None) -> EngineError:
    tiles = f"tiles of {size[1]} x {size[0]}" if size else "tiles"
    return EngineError(f"{tiles} cannot be run, most likely for want of memory; set a smaller --tile")


def _remove_oldest(cache: Path) -> None:
    """Each size that was met leaves a file of some megabytes."""
    with suppress(OSError):
        files = sorted(cache.glob("*.blob"), key=lambda file: file.stat().st_mtime)
        for file in files[:-_KEPT_FILES]:
            file.unlink(missing_ok=True)


def _trim_heap() -> None:
    """Give back what compiling took and freed, some 30 MiB that glibc would keep."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
