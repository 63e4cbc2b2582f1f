"""Pixels that were a JPEG before, and pixels that were not."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support import texture

from bgai.pictures.jpeg_blocks import earlier_quality


def compressed(pixels: NDArray[np.uint8], quality: int, **options: object) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, **options)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("quality", [20, 50, 75, 90, 95])
def test_the_quality_of_an_earlier_jpeg_is_found(quality: int) -> None:
    found = earlier_quality(compressed(texture(160, 200), quality))
    assert found is not None
    assert abs(found - quality) <= 2


@pytest.mark.parametrize("turn", [lambda x: x[3:, 5:], lambda x: x[::-1], lambda x: x.swapaxes(0, 1)])
def test_cutting_and_turning_do_not_hide_it(turn: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> None:
    # On its side a picture has its rows' steps for its columns.
    assert earlier_quality(turn(compressed(texture(160, 200), 75))) == pytest.approx(75, abs=5)


def test_grey_and_transparent_pictures_are_looked_at_too() -> None:
    grey = compressed(texture(160, 200)[..., 0], 75)
    colour = compressed(texture(160, 200), 75)
    for pixels in (grey, np.dstack((grey, grey)), np.dstack((colour, grey))):
        assert earlier_quality(pixels) == pytest.approx(75, abs=2)


def repeated(side: int, times: int) -> NDArray[np.uint8]:
    return texture(side, side).repeat(times, 0).repeat(times, 1)


CLEAN = {
    "picture": texture(160, 200),
    "noise": np.random.default_rng(0).integers(0, 256, (160, 200, 3), np.uint8),
    "one colour": np.full((160, 200, 3), 90, np.uint8),
    "pixels of 2": repeated(100, 2),
    "pixels of 4": repeated(50, 4),
    "pixels of 8": repeated(30, 8),
    "checks of 8": np.kron(np.indices((24, 24)).sum(0) % 2, np.full((8, 8), 200)).astype(np.uint8),
    "very small": compressed(texture(12, 12), 50),
    "one pixel": texture(1, 1),
}


@pytest.mark.parametrize("name", CLEAN)
def test_nothing_is_found_where_nothing_was(name: str) -> None:
    assert earlier_quality(CLEAN[name]) is None
