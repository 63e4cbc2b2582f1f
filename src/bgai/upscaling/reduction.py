"""An enlarged picture made smaller, row by row, to the very size that is wanted.

The kernel is the antialiased bicubic one of MATLAB, on the samples as they are: linear light loses up to half a decibel
on Set14 (docs/upscaling.md). Lanczos gains 0.2 dB at a factor of 1.5 and nothing at others; its outer lobes would leave
traces of opaque pixels in clear ones, and more overshoots. It is computed here and not by libvips, which could take
strips that come one after the other from a second file alone; and an array is enlarged without libvips.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.datasets.matlab_resize import contributions, weigh
from bgai.types import Plane, Size

_BLOCK_SAMPLES = 2**18  # so that floats of a strip, which may be as large as the memory allows, are few at a time


def reduce_strips(strips: Iterator[NDArray[Any]], source: Size, target: Size) -> Iterator[NDArray[Any]]:
    """Reduce an image that comes in strips from the top; holds the rows that one kernel covers, and a few more.

    Args:
        strips: n x W, or n x W x 2, 3 or 4 with alpha last if there are 2 or 4, not premultiplied; uint8, uint16, or
            float32 in [0, 1].
        source: H and W.
        target: Height and width of the result, neither larger than `source`.

    Returns:
        Strips of the result, of the same channels and dtype; `strips` themselves if there is nothing to reduce.
    """
    if source == target:
        yield from strips
        return
    down, across = (contributions(old, new / old) for old, new in zip(source, target, strict=True))
    weights, indices = down
    first, last = indices.min(1), indices.max(1)
    pending: Plane | None = None  # rows of the right width, from the source's row `top` on
    top = done = 0
    for block in _blocks(strips):
        rows = _reduce_width(_premultiplied(block), across)
        pending = rows if pending is None else np.concatenate((pending, rows))
        ready = int(np.searchsorted(last, top + len(pending)))
        if ready > done:
            result = weigh(pending, weights[done:ready], indices[done:ready] - top)
            yield _as_pixels(result, block)
            done = ready
        keep = int(first[done]) if done < len(first) else top + len(pending)
        pending, top = pending[keep - top :], keep
        del block  # which keeps the strip that it is part of


def _blocks(strips: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    for strip in strips:
        rows = max(1, _BLOCK_SAMPLES // strip[0].size)
        for start in range(0, len(strip), rows):
            yield strip[start : start + rows]
        del strip  # before the next one takes its memory


def _reduce_width(rows: Plane, across: tuple[NDArray[np.float64], NDArray[np.intp]]) -> Plane:
    return np.ascontiguousarray(np.moveaxis(weigh(np.moveaxis(rows, 1, 0), *across), 0, 1))


def _has_alpha(pixels: NDArray[Any]) -> bool:
    return pixels.ndim == 3 and pixels.shape[2] in (2, 4)


def _levels(pixels: NDArray[Any]) -> int:
    return 1 if pixels.dtype == np.float32 else int(np.iinfo(pixels.dtype).max)


def _premultiplied(pixels: NDArray[Any]) -> Plane:
    """n x W x channels in levels; colours are weighted with alpha, so that hidden ones do not bleed into others."""
    planes = pixels.reshape(*pixels.shape[:2], -1).astype(np.float32)
    if _has_alpha(pixels):
        planes[..., :-1] *= planes[..., -1:] / _levels(pixels)
    return planes


def _as_pixels(planes: Plane, like: NDArray[Any]) -> NDArray[Any]:
    """The inverse of `_premultiplied`."""
    levels = _levels(like)
    if _has_alpha(like):
        alpha = planes[..., -1:]
        planes[..., :-1] *= np.divide(levels, alpha, out=np.zeros_like(alpha), where=alpha > 0)
    planes = planes.clip(0, levels)
    result = planes if like.dtype == np.float32 else np.rint(planes).astype(like.dtype)
    return result.reshape(result.shape[:2] + like.shape[2:])
