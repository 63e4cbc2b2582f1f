"""Keeps patterns out of flat areas, and colour out of grey ones, that the source of an enlarged picture does not have.

Both rules depend only on the 3 x 3 source pixels around an output pixel, so tiles give the same as the whole image.
For 8-bit RGB, `bgai/engines/network.cpp` has the same rules: what is changed here has to be changed there.
Dimensions: h x w source pixels, s the scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Planes = TypeVar("Planes", NDArray[np.float32], NDArray[np.bool_])

LUMA = np.array((0.299, 0.587, 0.114), np.float32)
"""Weights of red, green and blue in the grey of a colour. Source: ITU-R BT.601."""

SMALL = 8
"""The network, made for windows of 16 pixels, misses the mean of random pictures below 8 x 8 by up to 10 levels."""

# How far a sample may lie beyond the range around it, in lengths of that range. Overshoots of sharp edges stay below:
# the authors' weights lose nothing on Set5 and Set14 (1, at ×4, costs Set5 0.003 dB).
_OVERSHOOT = 2
_PORTION_PIXELS = 2**14


def bound(enlarged: NDArray[np.float32], source: NDArray[np.float32]) -> None:
    """Keep flat areas flat, grey areas grey, and the mean of pictures below 8 x 8, in place.

    Args:
        enlarged: 3 x sh x sw, RGB.
        source: 3 x h x w, RGB, what was enlarged.
    """
    scale = enlarged.shape[1] // source.shape[1]
    lowest, highest = _filtered(source, np.minimum), _filtered(source, np.maximum)
    margin = _OVERSHOOT * (highest - lowest)
    lowest -= margin
    highest += margin
    grey = (source[0] == source[1]) & (source[1] == source[2])
    all_grey = _filtered(grey[None], np.logical_and)[0]
    if max(source.shape[1:]) < SMALL:
        enlarged += source.mean((1, 2), keepdims=True) - enlarged.clip(0, 1).mean((1, 2), keepdims=True)
    for rows in _portions(*source.shape[1:]):
        samples = _samples(enlarged, rows, scale)
        np.clip(samples, _wide(lowest, rows, scale), _wide(highest, rows, scale), out=samples)
        row, column = all_grey[rows].nonzero()
        if row.size:
            of_source_pixels = samples.reshape(*samples.shape[:2], -1, scale, 3)
            red, green, blue = np.moveaxis(of_source_pixels[row, :, column], 3, 0)
            luma = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
            of_source_pixels[row, :, column] = luma[..., None]


def _portions(height: int, width: int) -> Iterator[slice]:
    """Source rows, so few at a time that what is computed for them stays small."""
    count = max(_PORTION_PIXELS // width, 1)
    return (slice(start, min(start + count, height)) for start in range(0, height, count))


def _samples(enlarged: NDArray[np.float32], rows: slice, scale: int) -> NDArray[np.float32]:
    """A view of the output of n source rows, n x s x sw x 3: engines keep the channels of a pixel together."""
    part = np.moveaxis(enlarged, 0, 2)[rows.start * scale : rows.stop * scale]
    return part.reshape(-1, scale, *part.shape[1:])


def _wide(planes: NDArray[np.float32], rows: slice, scale: int) -> NDArray[np.float32]:
    """For each of these samples what planes of h x w have for its source pixel; n x 1 x sw x channels."""
    return planes[:, rows].transpose(1, 2, 0).repeat(scale, 1)[:, None]


def _filtered(planes: Planes, reduce: np.ufunc) -> Planes:
    """The reduction over 3 x 3 pixels, fewer at the borders; any number of planes of h x w."""
    result = planes.copy()
    for axis in (1, 2):
        along = np.moveaxis(result, axis, 0)
        before = along.copy()
        reduce(along[1:], before[:-1], out=along[1:])
        reduce(along[:-1], before[1:], out=along[:-1])
    return result
