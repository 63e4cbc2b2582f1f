"""Validation pictures."""

from __future__ import annotations

import numpy as np
import pytest
from support import texture

from bgai.datasets.matlab_resize import imresize
from bgai.training.comparison import comparison
from bgai.types import RgbImage


@pytest.mark.parametrize("scale", [2, 4])
def test_bicubic_enlarged_and_original_beside_each_other_below_labels(scale: int) -> None:
    hr = texture(48, 96)
    lr = imresize(hr, 1 / scale)
    pixels = comparison(lr, hr // 2, hr)
    assert pixels.shape == (48 + 20, 96 * 3 + 8, 3)
    np.testing.assert_array_equal(pixels[20:, :96], imresize(lr, scale))
    np.testing.assert_array_equal(pixels[20:, 100:196], hr // 2)
    np.testing.assert_array_equal(pixels[20:, 200:], hr)
    for left in (0, 100, 200):
        label = pixels[:20, left : left + 96]
        assert label.min() < 100  # something is written
        assert (label == 255).mean() > 0.7


def test_labels_have_the_psnr_of_the_picture() -> None:
    hr = texture(48, 96)
    lr = imresize(hr, 1 / 2)
    near: RgbImage = hr ^ np.uint8(1)
    better, worse = (comparison(lr, sr, hr)[:20] for sr in (near, hr // 2))
    assert not np.array_equal(better[:, 100:196], worse[:, 100:196])
    np.testing.assert_array_equal(better[:, :96], worse[:, :96])


def test_pictures_smaller_than_their_labels_have_their_size() -> None:
    assert comparison(texture(4, 3), texture(8, 6), texture(8, 6)).shape == (28, 6 * 3 + 8, 3)
