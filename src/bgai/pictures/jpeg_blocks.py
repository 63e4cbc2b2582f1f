"""Whether pixels were a JPEG before, as those of a screenshot or of a file that was saved anew, and of what quality.

JPEG's quantisation leaves the discrete cosine transform of its own blocks with many coefficients that are nearly 0;
blocks of any other grid have fewer. So one of the 64 possible grids stands out, and on it the coefficients that are
not 0 tell the steps of the quantisation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.pictures.compression import LUMA_TABLE
from bgai.types import Plane

_SIDE = 512  # of the middle of a picture, which is looked at
_FEWEST_BLOCKS = 30
_LEAST_GAP = 0.05
"""Of the share of small coefficients, between the best grid and the next: 0.01 at most where there was no JPEG."""
_SMALL, _STEP, _VISIBLE = 1.0, 2.5, 4.0  # levels: what rounding makes of 0; more than that; what is to be seen
_FEWEST_STEPS = 50
_LUMA = np.array((0.299, 0.587, 0.114), np.float32)

_column, _row = np.arange(8), np.arange(8)[:, None]
_DCT = (np.where(_row == 0, 0.5**0.5, 1) / 2 * np.cos(np.pi * (2 * _column + 1) * _row / 16)).astype(np.float32)
_HIGH = _row + _column >= 7
_LOW = ~_HIGH & (_row + _column > 0)
_TABLE = np.array(LUMA_TABLE, np.float32).reshape(8, 8)


def earlier_quality(pixels: NDArray[Any]) -> int | None:
    """The quality of the JPEG that pixels were before; None if they were none, or too little is there to tell.

    Args:
        pixels: H x W or H x W x channels, uint8; cut and turned in whatever way since, but not resized.
    """
    part = _middle(pixels)
    luma = part @ _LUMA if part.shape[2] == 3 else part[..., 0].astype(np.float32)
    grids = [(top, left) for top in range(8) for left in range(8)]
    blocks = [_visible(_transformed(luma[top:, left:])) for top, left in grids]
    if min(map(len, blocks)) < _FEWEST_BLOCKS:
        return None
    shares = [float((some[:, _HIGH] < _SMALL).mean()) for some in blocks]
    second, best = sorted(shares)[-2:]
    if best - second < _LEAST_GAP:
        return None
    # Clipping changes coefficients after they were quantised.
    top, left = grids[shares.index(best)]
    clipped = _blocks(((part == 0) | (part == 255)).any(axis=2)[top:, left:]).any(axis=(1, 2))
    whole = _visible(_transformed(luma[top:, left:])[~clipped])
    return _quality(whole if len(whole) else blocks[shares.index(best)])


def _middle(pixels: NDArray[Any]) -> NDArray[Any]:
    """H x W x 1 or 3, without alpha."""
    top, left = (max(0, (side - _SIDE) // 2) for side in pixels.shape[:2])
    part = pixels[top : top + _SIDE, left : left + _SIDE]
    return part[..., None] if part.ndim == 2 else part[..., : 3 if part.shape[2] > 2 else 1]


def _blocks(plane: NDArray[Any]) -> NDArray[Any]:
    """H x W to n x 8 x 8; what is left over at the right and at the bottom is cut off."""
    rows, columns = (side // 8 for side in plane.shape)
    return plane[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(-1, 8, 8)


def _transformed(luma: Plane) -> Plane:
    """Absolute coefficients of all blocks, n x 8 x 8."""
    coefficients: Plane = np.abs(_DCT @ _blocks(luma) @ _DCT.T)
    return coefficients


def _visible(coefficients: Plane) -> Plane:
    """Those of blocks in which something is to be seen: flat ones have none on any grid."""
    chosen: NDArray[np.bool_] = (coefficients[:, _LOW] > _VISIBLE).sum(axis=1) >= 2
    return coefficients[chosen]


def _quality(coefficients: Plane) -> int:
    """By the smallest steps in use, in those of libjpeg's table: of high frequencies, where they are largest."""
    for frequencies in (_HIGH, _LOW):
        chosen = coefficients[:, frequencies]
        steps = (chosen / _TABLE[frequencies])[chosen > _STEP]
        if len(steps) >= _FEWEST_STEPS:
            break
    ratio = float(np.quantile(steps, 0.25))
    return max(1, round(100 - 50 * ratio if ratio < 1 else 50 / ratio))  # libjpeg's `jpeg_quality_scaling`
