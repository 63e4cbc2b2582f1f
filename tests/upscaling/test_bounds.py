from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bgai import Upscaler
from bgai.upscaling.bounds import LUMA, bound

Planes = NDArray[np.float32]


def random_planes(*shape: int) -> Planes:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def test_flat_areas_stay_flat_and_others_as_they_are() -> None:
    source = np.full((3, 6, 8), 0.5, np.float32)
    source[:, :, 5:] = random_planes(3, 6, 3)
    enlarged = source.repeat(2, 1).repeat(2, 2) + 0.01
    expected = enlarged.copy()
    expected[:, :, :8] = 0.5  # columns 0 to 3: their neighbours are all 0.5
    bound(enlarged, source)
    np.testing.assert_array_equal(enlarged, expected)


def test_a_sample_goes_two_ranges_beyond_its_neighbours_at_most() -> None:
    source = np.full((3, 3, 3), 0.4, np.float32)
    source[:, 1, 1] = (0.5, 0.3, 0.4)
    enlarged = np.full((3, 9, 9), 9, np.float32)
    bound(enlarged, source)
    np.testing.assert_allclose(enlarged[:, 4, 4], (0.7, 0.6, 0.4), rtol=1e-6)
    enlarged[:] = -9
    bound(enlarged, source)
    np.testing.assert_allclose(enlarged[:, 4, 4], (0.2, 0.1, 0.4), rtol=1e-6)


def test_grey_areas_stay_grey_with_the_same_luma() -> None:
    source = random_planes(1, 5, 9).repeat(3, 0)
    source[0, :, 6] += 0.1  # a column of colour
    enlarged = (source + random_planes(3, 5, 9) * 0.01).repeat(3, 1).repeat(3, 2)
    before = enlarged.copy()
    bound(enlarged, source)
    np.testing.assert_array_equal(enlarged[0, :, :15], enlarged[2, :, :15])
    np.testing.assert_array_equal(enlarged[1, :, :15], enlarged[2, :, :15])
    np.testing.assert_allclose(enlarged[1, :, :15], np.tensordot(LUMA, before[:, :, :15], 1), rtol=1e-6)
    np.testing.assert_array_equal(enlarged[:, :, 15:24], before[:, :, 15:24])


@pytest.fixture(scope="module", params=[2, 3, 4])
def upscaler(request: pytest.FixtureRequest) -> Upscaler:
    return Upscaler(request.param)


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_pictures_of_one_colour_stay_that_colour_to_the_borders(upscaler: Upscaler, level: int) -> None:
    for size in (1, 5, 20):
        image = np.full((size, size + 3, 3), level, np.uint8)
        image[..., 1] = 255 - level
        expected = image.repeat(upscaler.scale, 0).repeat(upscaler.scale, 1)
        np.testing.assert_array_equal(upscaler.upscale(image), expected)


def test_grey_stored_as_colour_stays_grey(upscaler: Upscaler) -> None:
    grey = (random_planes(20, 40, 1) * 65535).astype(np.uint16).repeat(3, 2)
    alpha = np.linspace(0, 65535, 800).reshape(20, 40, 1).astype(np.uint16)
    for image in (grey, np.concatenate((grey, alpha), axis=2)):
        enlarged = upscaler.upscale(image)
        assert (np.ptp(enlarged[..., :3], axis=2) == 0).all()


@pytest.mark.parametrize("size", range(1, 8))
def test_tiny_pictures_keep_their_mean(upscaler: Upscaler, size: int) -> None:
    image = np.random.default_rng(size).integers(0, 256, (size, max(size - 1, 1), 3)).astype(np.uint8)
    assert abs(upscaler.upscale(image).mean((0, 1)) - image.mean((0, 1))).max() < 3
