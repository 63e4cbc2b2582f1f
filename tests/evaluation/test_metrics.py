"""PSNR and SSIM by hand and by definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support import texture

from bgai.errors import UsageError
from bgai.evaluation import metrics
from bgai.evaluation.metrics import luma, psnr, ssim


def test_luma_spans_the_studio_range() -> None:
    image = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], np.uint8)
    np.testing.assert_allclose(luma(image)[0], [16, 235, 81.481])


def test_psnr_of_a_known_error() -> None:
    hr = np.full((20, 20, 3), 100, np.uint8)
    step = 219 / 255  # one level of RGB in luma
    assert psnr(hr + np.uint8(1), hr, border=4) == pytest.approx(20 * math.log10(255 / step))
    assert psnr(hr + np.uint8(1), hr, border=4, on_luma=False) == pytest.approx(20 * math.log10(255))


def test_the_border_does_not_count() -> None:
    hr = np.zeros((24, 24, 3), np.uint8)
    sr = hr.copy()
    sr[:4] = 255
    assert psnr(sr, hr, border=4) == math.inf
    assert psnr(sr, hr, border=3) < 20
    assert ssim(sr, hr, border=4) == 1
    assert ssim(sr, hr, border=3) < 1


@pytest.mark.parametrize("on_luma", [True, False])
def test_ssim_is_the_mean_over_all_windows(on_luma: bool) -> None:
    sr, hr = texture(20, 18, seed=1), texture(20, 18, seed=2)
    x, y = (luma(image)[..., None] if on_luma else image.astype(float) for image in (sr, hr))
    weights = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    window = np.outer(weights, weights)[..., None] / weights.sum() ** 2
    values = []
    for top in range(2, 20 - 2 - 10):
        for left in range(2, 18 - 2 - 10):
            a, b = (image[top : top + 11, left : left + 11] for image in (x, y))
            mean_a, mean_b = (window * a).sum((0, 1)), (window * b).sum((0, 1))
            spread = (window * (a - mean_a) ** 2).sum((0, 1)) + (window * (b - mean_b) ** 2).sum((0, 1))
            shared = (window * (a - mean_a) * (b - mean_b)).sum((0, 1))
            c1, c2 = 2.55**2, 7.65**2
            values.append(
                (2 * mean_a * mean_b + c1) * (2 * shared + c2) / ((mean_a**2 + mean_b**2 + c1) * (spread + c2))
            )
    assert ssim(sr, hr, 2, on_luma) == pytest.approx(np.mean(values), abs=1e-9)


def test_images_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(UsageError, match="expected equal shapes"):
        psnr(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8), 0)
    with pytest.raises(UsageError, match="nothing is left of 9 x 8 pixels within a border of 4"):
        psnr(np.zeros((8, 9, 3), np.uint8), np.zeros((8, 9, 3), np.uint8), 4)
    with pytest.raises(UsageError, match="SSIM needs 11 x 11"):
        ssim(np.zeros((14, 14, 3), np.uint8), np.zeros((14, 14, 3), np.uint8), 2)


@pytest.mark.parametrize("on_luma", [True, False])
def test_strips_give_what_the_whole_image_gives(on_luma: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One strip, several, and strips of a single row."""
    sr, hr = texture(40, 18, seed=1), texture(40, 18, seed=2)
    whole = psnr(sr, hr, 2, on_luma), ssim(sr, hr, 2, on_luma)
    for pixels in (7 * 18, 1):
        monkeypatch.setattr(metrics, "_STRIP_PIXELS", pixels)
        assert (psnr(sr, hr, 2, on_luma), ssim(sr, hr, 2, on_luma)) == pytest.approx(whole, abs=1e-12)
