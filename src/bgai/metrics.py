"""PSNR and SSIM as super-resolution papers report them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.errors import UsageError

Image = NDArray[np.uint8]


def luma(image: Image) -> NDArray[np.float64]:
    """Y of BT.601 in studio swing, 16 to 235, unrounded, as MATLAB's `rgb2ycbcr` gives it; H x W x 3 to H x W."""
    y: NDArray[np.float64] = image @ np.array((65.481, 128.553, 24.966)) / 255 + 16
    return y


def psnr(sr: Image, hr: Image, border: int, on_luma: bool = True) -> float:
    """Peak signal-to-noise ratio in dB between two RGB images.

    Args:
        sr: H x W x 3.
        hr: Same shape.
        border: Pixels left out on each side; papers set it to the scale.
        on_luma: Whether lumas are compared, or all three channels.

    Returns:
        Decibels; infinite for equal images.
    """
    ours, theirs = _planes(sr, hr, border, on_luma)
    error = float(np.mean((ours - theirs) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim(sr: Image, hr: Image, border: int, on_luma: bool = True) -> float:
    """Structural similarity, 1 for equal images: Gaussian windows of 11 x 11 with sigma 1.5, mean over all positions.

    Arguments are those of `psnr`; over RGB it is the mean of the three channels'. Source: Z. Wang et al., Image
    Quality Assessment: From Error Visibility to Structural Similarity (2004), with its constants for 255.
    """
    x, y = _planes(sr, hr, border, on_luma)
    if min(x.shape[:2]) < 11:
        raise UsageError(f"SSIM needs 11 x 11 pixels within the border; found {x.shape[1]} x {x.shape[0]}")
    stabiliser1, stabiliser2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x, variance_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + stabiliser1) * (2 * covariance + stabiliser2)
    energy = (mean_x**2 + mean_y**2 + stabiliser1) * (variance_x + variance_y + stabiliser2)
    return float(np.mean(likeness / energy))


def _planes(sr: Image, hr: Image, border: int, on_luma: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if sr.shape != hr.shape:
        raise UsageError(f"cannot compare images of {sr.shape} and {hr.shape}: expected equal shapes")
    inner = slice(border, -border or None)
    if min(sr.shape[:2]) <= 2 * border:
        raise UsageError(f"nothing is left of {sr.shape[1]} x {sr.shape[0]} pixels within a border of {border}")
    x, y = (luma(image)[..., None] if on_luma else image.astype(np.float64) for image in (sr, hr))
    return x[inner, inner], y[inner, inner]


def _blur(planes: NDArray[np.float64]) -> NDArray[Any]:
    """Gaussian mean of each 11 x 11 window within the planes; H x W x channels to (H-10) x (W-10) x channels."""
    kernel = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        length = planes.shape[axis] - 10
        shifted = (np.take(planes, range(tap, tap + length), axis) for tap in range(11))
        planes = sum(weight * plane for weight, plane in zip(kernel, shifted, strict=True))
    return planes
