"""The engine `native`: the whole network on the CPU by a kernel compiled for it, without any other runtime."""

from __future__ import annotations

import math
import mmap
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bgai.engines.base import run_error
from bgai.engines.native_library import load_library
from bgai.engines.native_weights import pack_weights
from bgai.errors import EngineError
from bgai.free_memory import free_memory
from bgai.network.config import NetworkConfig
from bgai.processors import usable_cores
from bgai.types import Size, Tiles

_BYTES_PER_PIXEL = 5_300


class NativeEngine:
    """Runs tiles of any size on all cores, in float32; calls of several threads wait for each other.

    Args:
        config: The network's settings: the paper's.
        tensors: Its weights.
        cache: The folder where the compiled kernel is kept; None keeps it nowhere.

    Raises:
        EngineError: The kernel cannot be had, or computes no network of these settings.
    """

    name = "native"
    device = "cpu"
    bytes_per_pixel = _BYTES_PER_PIXEL

    def __init__(self, config: NetworkConfig, tensors: Mapping[str, NDArray[np.float32]], cache: Path | None) -> None:
        if config != NetworkConfig(config.scale):
            raise EngineError(
                "the engine native runs networks with the paper's settings alone; choose the engine openvino",
                parameter="engine",
            )
        self.scale = config.scale
        self._library = load_library(cache)
        self._weights = pack_weights(tensors, config)
        if self._weights.size != self._library.weights_size(config.scale):
            raise EngineError("the engine native was compiled for other weights; install bgai again")
        self._memory = np.empty(0, np.float32)
        self._lock = threading.Lock()

    def prepare(self, size: Size, count: int) -> None:
        pass

    def __call__(self, tiles: Tiles, count: int = 1) -> Tiles:
        height, width = size = tiles.shape[-2], tiles.shape[-1]
        with self._lock:
            try:
                results = np.empty((len(tiles), height * self.scale, width * self.scale, 3), np.float32)
                for tile, result in zip(np.ascontiguousarray(tiles), results, strict=True):
                    self._enlarge(tile, result)
            except MemoryError as error:
                raise run_error(error, "the engine native", size) from error
        return results.transpose(0, 3, 1, 2)

    def release(self) -> None:
        with self._lock:
            self._memory = np.empty(0, np.float32)

    def rest(self) -> None:
        self.release()

    def free_memory(self) -> int:
        return free_memory()

    def _enlarge(self, tile: NDArray[np.float32], result: NDArray[np.float32]) -> None:
        height, width = tile.shape[-2:]
        threads = usable_cores()
        size = self._library.memory_size(height, width, threads)
        if self._memory.size < size:
            self._memory = np.empty(0, np.float32)  # before there is more
            self._memory = _allocate(size)
        arrays = (self._weights, tile, result, self._memory)
        self._library.network(self.scale, *(array.ctypes.data for array in arrays), height, width, threads)


def _allocate(*shape: int) -> NDArray[np.float32]:
    """Memory in pages of the usual size: numpy asks for huge ones, which cost a third of a picture's time here.

    Raises:
        MemoryError: There is not enough.
    """
    size = math.prod(shape) * np.dtype(np.float32).itemsize
    try:
        pages = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise MemoryError(f"{size} bytes cannot be had") from error
    return np.frombuffer(pages, np.float32).reshape(shape)
