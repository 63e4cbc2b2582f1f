"""The engine `native`: the whole network on the CPU by a kernel compiled for it, without any other runtime."""

from __future__ import annotations

import ctypes
import mmap
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.engines.base import run_error
from bgai.engines.native_weights import pack_weights
from bgai.errors import EngineError
from bgai.free_memory import free_memory
from bgai.network.config import NetworkConfig
from bgai.processors import usable_cores
from bgai.types import Precision, RgbImage, Size, Tiles

_BYTES_PER_PIXEL: Mapping[Precision, int] = {"float32": 5_500, "half": 3_700}


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
        self._memory: mmap.mmap | None = None
        self._lock = threading.Lock()

    def prepare(self, size: Size, count: int) -> None:
        pass

    def __call__(self, tiles: Tiles, count: int = 1) -> Tiles:
        height, width = size = tiles.shape[-2], tiles.shape[-1]
        with self._running(size):
            results = np.empty((len(tiles), height * self.scale, width * self.scale, 3), np.float32)
            for tile, result in zip(np.ascontiguousarray(tiles), results, strict=True):
                self._run(self._library.enlarge_planes, tile, result, size)
        return results.transpose(0, 3, 1, 2)

    def enlarge_rgb8(self, image: RgbImage) -> RgbImage | None:
        height, width = size = image.shape[:2]
        with self._running(size):
            result = np.empty((height * self.scale, width * self.scale, 3), np.uint8)
            is_finite = self._run(self._library.enlarge_pixels, np.ascontiguousarray(image), result, size)
        return result if is_finite else None

    def release(self) -> None:
        with self._lock:
            self._memory = None

    def rest(self) -> None:
        self.release()

    def free_memory(self) -> int:
        return free_memory()

    @contextmanager
    def _running(self, size: Size) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except MemoryError as error:
                raise run_error(error, "the engine native", size) from error

    def _run(self, enlarge: Callable[..., bool], tile: NDArray[Any], result: NDArray[Any], size: Size) -> bool:
        threads = usable_cores()
        self._memory = _at_least(self._library.memory_size(*size, self._half, threads), self._memory)
        # Nothing that refers to the memory may live on, in a traceback for instance: it could not be freed or grow.
        memory = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        arrays = (array.ctypes.data for array in (self._weights, tile, result))
        return enlarge(self.scale, *arrays, memory, *size, self._half, threads)


def _at_least(size: int, memory: mmap.mmap | None) -> mmap.mmap:
    """Bytes in pages of the usual size: numpy asks for huge ones, which cost a third of a picture's time here.

    Args:
        size: How many at least.
        memory: What there is, whose pages stay in use: the system clears each one that is touched for the first time.

    Raises:
        MemoryError: There are not so many.
    """
    try:
        if memory is None:
            return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if len(memory) < size:
            memory.resize(size)
    except (OSError, OverflowError) as error:
        raise MemoryError(f"{size} bytes cannot be had") from error
    return memory
