"""MATLAB's `imresize` with its default antialiased bicubic kernel: the downscaling of every benchmark."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bgai.errors import UsageError

Image = TypeVar("Image", NDArray[np.uint8], NDArray[np.float32], NDArray[np.float64])

_BLOCK_PIXELS = 2**18


def imresize(image: Image, factor: float) -> Image:
    """Resize as MATLAB's `imresize(image, factor)` does: bicubic, antialiased when shrinking.

    Args:
        image: H x W or H x W x C; uint8, or float32 or float64 of any range.
        factor: Output size over input size; the output has ceil(factor * H) rows.

    Returns:
        Same dtype. uint8 is rounded after each of the two passes, rows first; floats are never clamped.

    Source: MathWorks' documentation of `imresize`; R. Keys, "Cubic convolution interpolation", a = -0.5.

    Example:
        >>> imresize(np.full((8, 12, 3), 7, np.uint8), 1 / 4).shape
        (2, 3, 3)
    """
    if not factor > 0:
        raise UsageError(f"resize factor {factor}: expected more than 0")
    return _resize_axis(_resize_axis(image, factor, axis=0), factor, axis=1)


def _resize_axis(image: NDArray[Any], factor: float, axis: int) -> NDArray[Any]:
    """Resize along one axis, some lines of the other at a time: floats of a whole large picture would fill memory."""
    weights, indices = contributions(image.shape[axis], factor)
    rows = np.moveaxis(image, axis, 0)
    out = np.empty((len(weights), *rows.shape[1:]), image.dtype)
    lines = max(_BLOCK_PIXELS // max(len(rows), len(out)), 1)
    for start in range(0, rows.shape[1], lines):
        block = slice(start, start + lines)
        out[:, block] = weigh(rows[:, block], weights, indices)
    return np.moveaxis(out, 0, axis)


def weigh(rows: NDArray[Any], weights: NDArray[np.float64], indices: NDArray[np.intp]) -> NDArray[Any]:
    """Resize along the first axis, with what `contributions` gives; uint8 comes as rounded floats."""
    work = rows if np.issubdtype(rows.dtype, np.floating) else rows.astype(np.float64)
    out = np.zeros((len(weights), *rows.shape[1:]), work.dtype)
    column = (-1,) + (1,) * (rows.ndim - 1)
    for tap in range(weights.shape[1]):
        out += weights[:, tap].reshape(column).astype(work.dtype) * work[indices[:, tap]]
    # MATLAB rounds halves away from zero, where numpy's rint rounds them to even.
    return np.floor(np.clip(out, 0, 255) + 0.5) if rows.dtype == np.uint8 else out


def contributions(length: int, factor: float) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """For each of ceil(factor * length) output samples, the weights of input samples and their indices.

    Both are out x taps; indices beyond the ends are mirrored.
    """
    stretch = max(1.0, 1 / factor)  # shrinking widens the kernel: that is the antialiasing
    support = 4 * stretch
    out_length = math.ceil(length * factor - 1e-9)
    centre = (np.arange(1, out_length + 1) / factor + 0.5 * (1 - 1 / factor))[:, None]
    first = np.floor(centre - support / 2)
    positions = first + np.arange(math.ceil(support) + 2)
    weights = _cubic((centre - positions) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.concatenate((np.arange(length), np.arange(length)[::-1]))
    indices = mirrored[(positions.astype(np.intp) - 1) % (2 * length)]
    used = weights.any(axis=0)
    return weights[:, used], indices[:, used]


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0))
