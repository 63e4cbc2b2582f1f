"""MATLAB's imresize."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bgai.datasets.matlab_resize import imresize
from bgai.errors import UsageError
from bgai.pictures.reading import read_rgb8


def test_a_known_row() -> None:
    # Halving 1 to 8 by hand: weights (-3, -9, 29, 111, 111, 29, -9, -3) / 256, mirrored at both ends.
    row = np.arange(1, 9, dtype=np.float64)[None].repeat(8, 0)
    weights = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    mirrored = np.concatenate((row[0, 2::-1], row[0], row[0, :-4:-1]))
    expected = [weights @ mirrored[start : start + 8] for start in (0, 2, 4, 6)]
    np.testing.assert_allclose(imresize(row, 1 / 2)[0], expected, rtol=0, atol=1e-12)


def test_enlarging_keeps_the_ramp() -> None:
    ramp = np.arange(20, dtype=np.float64)[None].repeat(4, 0)
    enlarged = imresize(ramp, 4)[0, 16:-16]
    np.testing.assert_allclose(np.diff(enlarged), 0.25, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "factor", "expected"), [((9, 10), 1 / 3, (3, 4)), ((1, 1), 1 / 4, (1, 1)), ((5, 7), 4, (20, 28))]
)
def test_sizes(size: tuple[int, int], factor: float, expected: tuple[int, int]) -> None:
    assert imresize(np.zeros((*size, 3), np.uint8), factor).shape == (*expected, 3)


def test_bytes_are_clamped_and_stay_bytes() -> None:
    edge = np.zeros((16, 16), np.uint8)
    edge[:, 8:] = 255
    result = imresize(edge, 2)
    assert result.dtype == np.uint8
    assert (result.min(), result.max()) == (0, 255)
    assert imresize(edge.astype(np.float32), 2).min() < 0


def test_a_factor_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="more than 0"):
        imresize(np.zeros((4, 4)), 0)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_pixel_of_set14(scale: int, shared: Path) -> None:
    for path in sorted((shared / "benchmarks/Set14/HR").iterdir()):
        hr = read_rgb8(path)
        hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        published = read_rgb8(shared / f"benchmarks/Set14/X{scale}" / path.name)
        np.testing.assert_array_equal(imresize(hr, 1 / scale), published, err_msg=path.name)
