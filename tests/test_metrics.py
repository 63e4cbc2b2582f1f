"""PSNR on the luma channel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bgai.errors import UsageError
from bgai.metrics import luma, psnr_y


def test_luma_spans_the_studio_range() -> None:
    image = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], np.uint8)
    np.testing.assert_allclose(luma(image)[0], [16, 235, 81.481])


def test_psnr_of_a_known_error() -> None:
    hr = np.full((20, 20, 3), 100, np.uint8)
    step = 219 / 255  # one level of RGB in luma
    assert psnr_y(hr + np.uint8(1), hr, border=4) == pytest.approx(20 * math.log10(255 / step))


def test_the_border_does_not_count() -> None:
    hr = np.zeros((12, 12, 3), np.uint8)
    sr = hr.copy()
    sr[:4] = 255
    assert psnr_y(sr, hr, border=4) == math.inf
    assert psnr_y(sr, hr, border=3) < 20


def test_different_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match="expected equal shapes"):
        psnr_y(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8), 0)
