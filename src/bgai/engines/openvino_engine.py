"""The engine of the core install: the network's weights on the CPU through OpenVINO."""

from __future__ import annotations

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

from bgai.config import NetworkConfig
from bgai.engines import Tiles
from bgai.engines.graph import Size, build_graph, window_orders
from bgai.errors import EngineError
from bgai.files import make_folder

SETTINGS = {
    # Left alone, OpenVINO computes in bfloat16 or float16 where the CPU can, off by whole 8-bit levels.
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
}
# A graph for one size takes a second or two to compile, and then two thirds of the time and a third of the memory of
# the graph for any size: it is made for tiles of more than so many pixels, and for sizes that were met that often.
_ANY_SIZE_PIXELS = 48_000
_WORTH_COMPILING_PIXELS = 150_000
_KEPT_GRAPHS = 4
_KEPT_FILES = 64


@functools.cache
def core() -> openvino.Core:
    """The one of this process. It is never freed: OpenVINO frees with it what the process handles signals on."""
    return openvino.Core()


class OpenVinoEngine:
    """Runs tiles of any size on all cores, in float32."""

    name = "openvino"
    device = "cpu"
    bytes_per_pixel = 4_700

    def __init__(self, config: NetworkConfig, tensors: Mapping[str, NDArray[np.float32]], cache: Path | None) -> None:
        """Make ready to run; compiled graphs are kept in the folder `cache`."""
        self.scale = config.scale
        self._config, self._tensors = config, tensors
        self._settings: dict[str, str] = dict(SETTINGS)
        self._cache = make_folder(cache) if cache else None
        if self._cache:
            self._settings["CACHE_DIR"] = str(self._cache)
        self._graphs: dict[Size | None, openvino.CompiledModel] = {}
        self._requests: dict[Size | None, Any] = {}
        self._last: Size | None = None
        self._work: Counter[Size] = Counter()

    def prepare(self, size: Size, count: int) -> None:
        pixels = size[0] * size[1]
        if pixels > _ANY_SIZE_PIXELS or self._work[size] + count * pixels > _WORTH_COMPILING_PIXELS:
            self._request(size)
        elif size not in self._graphs:
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
        if self._last in self._graphs:
            self._graphs[self._last].release_memory()

    def free_memory(self) -> int:
        return psutil.virtual_memory().available

    def _enlarge(self, tile: Tiles, size: Size) -> Tiles:
        fixed = size in self._graphs
        orders = {} if fixed else window_orders(self._config, size)
        result: Tiles = self._request(size if fixed else None).infer({"lr": tile, **orders}, share_inputs=True)[0]
        return result

    def _request(self, size: Size | None) -> Any:
        """What runs images of a size, or with None of any; no other holds memory."""
        if size not in self._graphs:
            if len(self._graphs) == _KEPT_GRAPHS:
                oldest = next(iter(self._graphs))
                del self._graphs[oldest], self._requests[oldest]
            model = build_graph(self._tensors, self._config, size)
            try:
                self._graphs[size] = core().compile_model(model, "CPU", self._settings)
            except RuntimeError:
                raise no_memory(size) from None
            self._requests[size] = self._graphs[size].create_infer_request()
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
