"""Validation pictures: bicubic, enlarged and original beside each other, with what each is and its PSNR above."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bgai.datasets.matlab_resize import imresize
from bgai.evaluation.metrics import psnr
from bgai.types import RgbImage

_DPI = 100
_LABEL = 20
"""Height of the labels in pixels."""
_GAP = 4


def comparison(lr: RgbImage, sr: RgbImage, hr: RgbImage) -> RgbImage:
    """Lay the three pictures beside each other.

    Args:
        lr: H x W x 3.
        sr: sH x sW x 3.
        hr: sH x sW x 3.

    Returns:
        The row of pictures below their labels. PSNR is on the luma, without a border of s pixels.
    """
    scale = len(hr) // len(lr)
    bicubic = imresize(lr, scale)
    border = scale if min(hr.shape[:2]) > 2 * scale else 0
    labels = ("bicubic", bicubic), ("SR", sr)
    columns = [_column(f"{name} {psnr(image, hr, border):.2f} dB", image) for name, image in labels]
    gap = np.full((len(columns[0]), _GAP, 3), 255, np.uint8)
    return np.concatenate((columns[0], gap, columns[1], gap, _column("HR", hr)), axis=1)


def _column(label: str, image: RgbImage) -> RgbImage:
    return np.concatenate((_text(label, image.shape[1]), image))


def _text(text: str, width: int) -> RgbImage:
    """A line of text, black on white, as high as a label; what is wider than the picture is cut off."""
    figure = Figure(figsize=(width / _DPI, _LABEL / _DPI), dpi=_DPI)
    canvas: Any = FigureCanvasAgg(figure)
    figure.text(2 / width, 0.25, text, fontsize=9)
    canvas.draw()
    pixels: RgbImage = np.asarray(canvas.buffer_rgba())[:_LABEL, :width, :3]
    line = np.full((_LABEL, width, 3), 255, np.uint8)
    line[: pixels.shape[0], : pixels.shape[1]] = pixels
    return line
