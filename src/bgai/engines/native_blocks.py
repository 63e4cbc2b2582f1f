"""The network's blocks by the compiled kernel: their weights in its order, its working memory, and the call."""

from __future__ import annotations

import ctypes
import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.errors import EngineError
from bgai.network.config import NetworkConfig
from bgai.types import Size

MAP = (256, 64, 64, 64)
"""How many numbers the map of each of a block's four attentions has for a pixel."""
BAND = 16
"""Rows that a thread takes at a time."""
SCRATCH = 132
"""Channels of the features, the inputs of the gates, and the outputs of the attentions."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class _Memory:
    """What the kernel works in, for images of one size."""

    size: Size
    threads: int
    step: int
    scratch: Array
    of_threads: Array
    maps: list[list[Array]]


class NativeBlocks:
    """Computes one block after the other; keeps the attention maps of a group for the next one.

    Args:
        library: The compiled kernel.
        config: The network's settings.
        tensors: Its weights, of the shapes that these settings give.

    Raises:
        EngineError: The settings are not the paper's.
    """

    def __init__(self, library: ctypes.CDLL, config: NetworkConfig, tensors: Mapping[str, Array]) -> None:
        if config != NetworkConfig(config.scale):
            raise EngineError(
                "the engine native runs networks with the paper's settings alone; choose the engine openvino",
                parameter="engine",
            )
        self._library, self._config = library, config
        names = np.ndindex(config.groups, config.blocks)
        self._weights = {(group, index): _packed(tensors, f"groups.{group}.blocks.{index}") for group, index in names}
        self._memory: _Memory | None = None

    def reserve(self, size: Size, threads: int) -> None:
        """Allocate the memory for images of a height and width, unless the last ones were of the same.

        Raises:
            MemoryError: There is not enough.
        """
        if self._memory and self._memory.size == size:
            return
        self.release()
        H, W = (side + -side % BAND for side in size)
        threads = min(threads, H // BAND)
        step = 16 * ((W // 16 + 1) | 1)  # between the rows of a channel: an odd number of cache lines
        scratch = _zeros(H, SCRATCH, step)
        of_threads = _zeros(threads, self._library.memory_of_thread(step))
        maps = [[_zeros(H * W * numbers) for numbers in MAP] for _ in range(self._config.blocks)]
        self._memory = _Memory(size, threads, step, scratch, of_threads, maps)

    def release(self) -> None:
        """Free the memory."""
        self._memory = None

    def compute(self, features: Array, out: Array, group: int, index: int) -> None:
        """One block, from features to features, 1 x H x W x C; those before it were computed before."""
        memory = self._memory
        assert memory is not None
        maps = (ctypes.c_void_p * len(MAP))(*(each.ctypes.data for each in memory.maps[index]))
        arrays = self._weights[group, index], features, out, memory.scratch, memory.of_threads
        shifted, integrate, keep = index % 2 == 1, group > 0, group < self._config.groups - 1
        self._library.block(
            *(array.ctypes.data for array in arrays),
            maps,
            *memory.size,
            memory.step,
            shifted,
            integrate,
            keep,
            memory.threads,
        )


def _zeros(*shape: int) -> Array:
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


def _packed(tensors: Mapping[str, Array], block: str) -> Array:
    """The weights of a block, in the order of the kernel's structures."""
    return np.concatenate([array.astype(np.float32).ravel() for array in _arrays(tensors, block)])


def _arrays(tensors: Mapping[str, Array], block: str) -> Iterator[NDArray[Any]]:
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


def _attention(tensors: Mapping[str, Array], name: str) -> Iterator[NDArray[Any]]:
    yield from _named(tensors, f"{name}.query", f"{name}.value", f"{name}.position")
    yield tensors[f"{name}.temperature"]


def _normed(tensors: Mapping[str, Array], name: str, norm: str) -> Iterator[NDArray[Any]]:
    """A convolution that includes the scale and bias of the normalisation before it."""
    weight = tensors[f"{name}.weight"][:, :, 0, 0].astype(np.float64)
    yield weight * tensors[f"{norm}.weight"]
    yield tensors[f"{name}.bias"] + weight @ tensors[f"{norm}.bias"]


def _named(tensors: Mapping[str, Array], *names: str) -> Iterator[NDArray[Any]]:
    yield from (tensors[f"{name}.{part}"] for name in names for part in ("weight", "bias"))
