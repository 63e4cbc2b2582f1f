"""The original project's way with large images: small tiles that overlap a little, averaged where they do.

It is here to reproduce published figures. Where tiles meet it differs from the whole image, and seams can be seen;
`tiling.py` has the tiles that this package enlarges pictures with.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.engines.base import Engine

_BATCH = 8


def enlarge_averaging(engine: Engine, lr: NDArray[np.uint8], tile: int) -> NDArray[np.uint8]:
    """Enlarge an image in overlapping tiles.

    Args:
        engine: What enlarges them.
        lr: H x W x 3.
        tile: Side of a tile in low-resolution pixels; a sixteenth of it overlaps. Shorter sides shorten it.

    Returns:
        sH x sW x 3, rounded.

    Source: the original project's `TileModel`.
    """
    height, width = lr.shape[:2]
    scale, tile = engine.scale, min(tile, height, width)
    tops, lefts = starts(height, tile), starts(width, tile)
    enlarged = np.empty((height * scale, width * scale, 3), np.uint8)
    # Rows that a later row of tiles adds to are carried over: memory holds one row of tiles, however high the image.
    total = np.zeros((tile * scale, width * scale, 3), np.float32)
    count = np.zeros((tile * scale, width * scale, 1), np.float32)
    for top, following in zip(tops, [*tops[1:], height], strict=True):
        _add_tiles(engine, lr[top : top + tile], lefts, tile, total, count)
        done = (following - top) * scale
        mean = (total[:done] / count[:done]).clip(0, 1)
        enlarged[top * scale : following * scale] = np.rint(mean * 255)
        for plane in (total, count):
            plane[: len(plane) - done] = plane[done:]
            plane[len(plane) - done :] = 0
    return enlarged


def starts(length: int, tile: int) -> list[int]:
    """Where tiles begin along an axis; the last one ends with it.

    Example:
        >>> starts(150, 64)
        [0, 60, 86]
    """
    return [*range(0, length - tile, tile - tile // 16), length - tile]


def _add_tiles(
    engine: Engine, rows: NDArray[np.uint8], lefts: list[int], tile: int, total: NDArray[Any], count: NDArray[Any]
) -> None:
    scale = engine.scale
    for first in range(0, len(lefts), _BATCH):
        some = lefts[first : first + _BATCH]
        batch = np.stack([rows[:, left : left + tile] for left in some]).transpose(0, 3, 1, 2)
        for left, sr in zip(some, engine(batch.astype(np.float32) / np.float32(255)), strict=True):
            columns = slice(left * scale, (left + tile) * scale)
            total[:, columns] += sr.transpose(1, 2, 0)
            count[:, columns] += 1
