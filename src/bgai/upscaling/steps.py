"""Two networks in a row, for enlargements of more than four times."""

from __future__ import annotations

import math

import numpy as np

from bgai.engines.base import Engine
from bgai.network.config import GRID
from bgai.types import Size, Tiles
from bgai.upscaling.bounds import bound
from bgai.upscaling.upscaler import Upscaler


class SteppedUpscaler(Upscaler):
    """Enlarges each tile by one upscaler's network and then by another's, so that no whole picture lies between them.

    Args:
        first: Its tiles' size is taken.
        second: What enlarges the results of the first.
    """

    def __init__(self, first: Upscaler, second: Upscaler) -> None:
        vars(self).update(vars(first))
        self.engine = _SteppedEngine(first.engine, second.engine)
        self.scale = self.engine.scale
        half = GRID // 2
        self.halo = math.ceil((first.halo + second.halo / first.scale) / half) * half
        self.later = (second.weights,)


class _SteppedEngine:
    """Two engines as one."""

    def __init__(self, first: Engine, second: Engine) -> None:
        self._first, self._second = first, second
        self.name, self.device = first.name, first.device
        self.scale = first.scale * second.scale
        self.bytes_per_pixel = first.bytes_per_pixel + first.scale**2 * second.bytes_per_pixel

    def prepare(self, size: Size, count: int) -> None:
        self._first.prepare(size, count)
        self._second.prepare((size[0] * self._first.scale, size[1] * self._first.scale), count)

    def __call__(self, tiles: Tiles, count: int = 1) -> Tiles:
        between = self._first(tiles, count)
        for enlarged, source in zip(between, tiles, strict=True):
            bound(enlarged, source)
        return self._second(np.clip(between, 0, 1, out=between), count)

    def release(self) -> None:
        self._first.release()
        self._second.release()

    def rest(self) -> None:
        self._first.rest()
        self._second.rest()

    def free_memory(self) -> int:
        return self._first.free_memory()
