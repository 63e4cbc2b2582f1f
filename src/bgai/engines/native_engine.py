"""The engine `native`: the whole network on the CPU by a kernel compiled for it, without any other runtime."""

from __future__ import annotations

import ctypes
import mmap
import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bgai.engines.base import run_error
from bgai.engines.native_weights import pack_weights
from bgai.errors import EngineError
from bgai.free_memory import free_memory
from bgai.network.config import NetworkConfig
from bgai.processors import usable_cores
from bgai.types import Precision, Size, Tiles

_NONE = np.empty(0, np.uint8)
_BYTES_PER_PIXEL: Mapping[Precision, int] = {"float32": 5_300, "half": 3_500}


class NativeEngine:
    """Runs tiles of any size on all cores, in float32; calls of several threads wait for each other.

    In half precision, attention maps wait for the next group in float16; all that is computed is computed in float32.

    Args:
        config: The network's settings: the paper's.
        tensors: Its weights.
        library: Of `bgai.engines.native_library`.
        precision: `float32` or `half`.

    Raises:
        EngineError: The library computes no network of these settings.
    """

    name = "native"
    device = "cpu"

    def __init__(
        self,
        config: NetworkConfig,
        tensors: Mapping[str, NDArray[np.float32]],
        library: ctypes.CDLL,
        precision: Precision = "float32",
    ) -> None:
        if config != NetworkConfig(config.scale):
            raise EngineError(
                "the engine native runs networks with the paper's settings alone; choose the engine openvino",
                parameter="engine",
            )
        self.scale = config.scale
        self.bytes_per_pixel = _BYTES_PER_PIXEL[precision]
        self._half = precision == "half"
        self._library = library
        self._weights = pack_weights(tensors, config)
        if self._weights.size != self._library.weights_size(config.scale):
            raise EngineError("the engine native was compiled for other weights; install bgai again")
        self._memory = _NONE
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
            self._memory = _NONE

    def rest(self) -> None:
        self.release()

    def free_memory(self) -> int:
        return free_memory()

    def _enlarge(self, tile: NDArray[np.float32], result: NDArray[np.float32]) -> None:
        height, width = tile.shape[-2:]
        threads = usable_cores()
        size = self._library.memory_size(height, width, self._half, threads)
        if self._memory.size < size:
            self._memory = _NONE  # before there is more
            self._memory = _allocate(size)
        arrays = (array.ctypes.data for array in (self._weights, tile, result, self._memory))
        self._library.network(self.scale, *arrays, height, width, self._half, threads)


def _allocate(size: int) -> NDArray[np.uint8]:
    """Bytes in pages of the usual size: numpy asks for huge ones, which cost a third of a picture's time here.

    Raises:
        MemoryError: There are not so many.
    """
    try:
        pages = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise MemoryError(f"{size} bytes cannot be had") from error
    return np.frombuffer(pages, np.uint8, size)
