"""Peak signal-to-noise ratio as super-resolution papers report it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bgai.errors import UsageError


def luma(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Y of BT.601 in studio swing, 16 to 235, unrounded, as MATLAB's `rgb2ycbcr` gives it; H x W x 3 to H x W."""
    y: NDArray[np.float64] = image @ np.array((65.481, 128.553, 24.966)) / 255 + 16
    return y


def psnr_y(sr: NDArray[np.uint8], hr: NDArray[np.uint8], border: int) -> float:
    """PSNR in dB between the lumas of two RGB images, less a border that papers set to the scale.

    Args:
        sr: H x W x 3.
        hr: Same shape.
        border: Pixels left out on each side.

    Returns:
        Decibels; infinite for equal images.
    """
    if sr.shape != hr.shape:
        raise UsageError(f"cannot compare images of {sr.shape} and {hr.shape}: expected equal shapes")
    inner = slice(border, -border or None)
    error = float(np.mean((luma(sr) - luma(hr))[inner, inner] ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf
