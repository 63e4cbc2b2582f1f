"""What is finished of a result while the rest of it is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from bgai.types import PixelProgress, Size
from bgai.upscaling.pixels import Image
from bgai.upscaling.upscaler import Upscaler

MOST_PIXELS = 4_000_000
"""Of a preview, which stays in memory while its job runs."""


class Preview:
    """The finished rows of a result in 8 bits; of a large one every second, third, … pixel.

    The engine's thread adds rows, and others may read at the same time.

    Args:
        size: Height and width of what the networks make, before it is reduced to the result's size.
    """

    def __init__(self, size: Size) -> None:
        self._size = size
        self._step = max(1, math.ceil(math.sqrt(size[0] * size[1] / MOST_PIXELS)))
        self._pixels: NDArray[np.uint8] | None = None
        self._whole_rows = 0
        self._rows = 0

    def share(self) -> float:
        """How much of the height is finished."""
        return self._whole_rows / self._size[0]

    def add(self, strip: NDArray[Any]) -> None:
        """Add the next rows: n x W, or n x W x channels, uint8, uint16 or float32 in [0, 1]."""
        first = -self._whole_rows % self._step
        part = _as_bytes(strip[first :: self._step, :: self._step])
        if self._pixels is None:
            self._pixels = np.zeros((-(-self._size[0] // self._step), *part.shape[1:]), np.uint8)
        self._pixels[self._rows : self._rows + len(part)] = part
        self._rows += len(part)
        self._whole_rows += len(strip)

    def png(self) -> bytes | None:
        """The finished rows; None while there are none."""
        if self._pixels is None or not self._rows:
            return None
        encoded: bytes = pyvips.Image.new_from_array(self._pixels[: self._rows]).pngsave_buffer(compression=1)
        return encoded


def _as_bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint16:
        return (pixels >> 8).astype(np.uint8)
    return pixels if pixels.dtype == np.uint8 else (pixels * 255).astype(np.uint8)


class WatchedUpscaler(Upscaler):
    """Tells of the rows that it has finished."""

    watch: Callable[[NDArray[Any]], None] | None = None

    def strips(
        self,
        image: Image,
        progress: PixelProgress | None = None,
        after_last: Callable[[], None] | None = None,
        *,
        keep_clear_colours: bool = False,
    ) -> Generator[Image, None, None]:
        for strip in super().strips(image, progress, after_last, keep_clear_colours=keep_clear_colours):
            if self.watch:
                self.watch(strip)
            yield strip
            del strip  # before the next one takes its memory
