"""PSNR and SSIM as super-resolution papers report them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.errors import UsageError
from bgai.types import RgbImage

Planes = NDArray[np.float64]

_WINDOW = 11
_STRIP_PIXELS = 2**18  # of which a dozen planes are at hand at a time, whatever the image's size


def luma(image: RgbImage) -> NDArray[np.float64]:
    """Y of BT.601 in studio swing, 16 to 235, unrounded, as MATLAB's `rgb2ycbcr` gives it; H x W x 3 to H x W."""
    y: NDArray[np.float64] = image @ np.array((65.481, 128.553, 24.966)) / 255 + 16
    return y


def psnr(sr: RgbImage, hr: RgbImage, border: int, on_luma: bool = True) -> float:
    """Peak signal-to-noise ratio in dB between two RGB images.

    Args:
        sr: H x W x 3.
        hr: Same shape.
        border: Pixels left out on each side; papers set it to the scale.
        on_luma: Whether lumas are compared, or all three channels.

    Returns:
        Decibels; infinite for equal images.
    """
    total, count = 0.0, 0
    for ours, theirs in _strips(sr, hr, border, on_luma):
        total += float(np.sum((ours - theirs) ** 2))
        count += ours.size
    error = total / count
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim(sr: RgbImage, hr: RgbImage, border: int, on_luma: bool = True) -> float:
    """Structural similarity, 1 for equal images: Gaussian windows of 11 x 11 with sigma 1.5, mean over all positions.

    Arguments are those of `psnr`; over RGB it is the mean of the three channels'. Source: Z. Wang et al., Image
    Quality Assessment: From Error Visibility to Structural Similarity (2004), with its constants for 255.
    """
    height, width = (side - 2 * border for side in sr.shape[:2])
    if min(height, width) < _WINDOW:
        raise UsageError(f"SSIM needs 11 x 11 pixels within the border; found {width} x {height}")
    total, count = 0.0, 0
    for x, y in _strips(sr, hr, border, on_luma, overlap=_WINDOW - 1):
        similarity = _similarity(x, y)
        total += float(np.sum(similarity))
        count += similarity.size
    return total / count


def _similarity(x: Planes, y: Planes) -> Planes:
    stabiliser1, stabiliser2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x, variance_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + stabiliser1) * (2 * covariance + stabiliser2)
    energy = (mean_x**2 + mean_y**2 + stabiliser1) * (variance_x + variance_y + stabiliser2)
    similarity: Planes = likeness / energy
    return similarity


def _strips(
    sr: RgbImage, hr: RgbImage, border: int, on_luma: bool, overlap: int = 0
) -> Iterator[tuple[Planes, Planes]]:
    """What is compared, from the top: rows x W x channels of both, each strip with the last rows of the one before."""
    if sr.shape != hr.shape:
        raise UsageError(f"cannot compare images of {sr.shape} and {hr.shape}: expected equal shapes")
    height, width = sr.shape[:2]
    if min(height, width) <= 2 * border:
        raise UsageError(f"nothing is left of {width} x {height} pixels within a border of {border}")
    rows = max(_STRIP_PIXELS // width, 1)
    for top in range(border, height - border - overlap, rows):
        inner = slice(top, min(top + rows + overlap, height - border)), slice(border, width - border)
        ours, theirs = (
            luma(image[inner])[..., None] if on_luma else image[inner].astype(np.float64) for image in (sr, hr)
        )
        yield ours, theirs


def _blur(planes: Planes) -> NDArray[Any]:
    """Gaussian mean of each 11 x 11 window within the planes; H x W x channels to (H-10) x (W-10) x channels."""
    kernel = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        length = planes.shape[axis] - _WINDOW + 1
        shifted = (np.take(planes, range(tap, tap + length), axis) for tap in range(_WINDOW))
        planes = sum(weight * plane for weight, plane in zip(kernel, shifted, strict=True))
    return planes
