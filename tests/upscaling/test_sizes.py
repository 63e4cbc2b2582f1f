"""Sizes that were asked for."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bgai.errors import UsageError
from bgai.types import Size
from bgai.upscaling.sizes import STEPS, TargetSize, next_scale


@pytest.mark.parametrize(
    ("asked", "source", "expected", "name"),
    [
        ({"factor": 1.5}, (33, 40), (50, 60), "x1.5"),
        ({"factor": 1}, (33, 40), (33, 40), "x1"),
        ({"width": 1001}, (333, 500), (667, 1001), "w1001"),
        ({"height": 1001}, (500, 333), (1001, 667), "h1001"),
        ({"width": 1000, "height": 600}, (300, 400), (600, 800), "1000x600"),
        ({"width": 800, "height": 900}, (300, 400), (600, 800), "800x900"),
        ({"long_edge": 3840}, (1080, 1920), (2160, 3840), "edge3840"),
        ({"long_edge": 3840}, (1920, 1080), (3840, 2160), "edge3840"),
        ({"megapixels": 24}, (2000, 3000), (4000, 6000), "24mp"),
        ({"megapixels": 0.5}, (301, 407), (608, 822), "0.5mp"),
    ],
)
def test_a_size_for_a_source(asked: dict[str, Any], source: Size, expected: Size, name: str) -> None:
    assert TargetSize(**asked).of(*source) == expected
    assert str(TargetSize(**asked)) == name


def test_what_bounds_is_never_exceeded() -> None:
    for height in range(200, 260, 7):
        for width in range(200, 300, 11):
            high, wide = TargetSize(megapixels=0.2).of(height, width)
            assert 0.198 < high * wide / 1e6 <= 0.2
            high, wide = TargetSize(width=500, height=401).of(height, width)
            assert wide == 500 or high == 401
            assert wide <= 500
            assert high <= 401
            assert math.isclose(high / wide, height / width, rel_tol=0.004)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "a size is one of"),
        ({"factor": 2, "width": 100}, "a size is one of"),
        ({"factor": 0.9}, "factor 0.9: expected 1 to 16"),
        ({"factor": math.nan}, "factor nan"),
        ({"width": -1}, "width -1: expected a number above 0"),
        ({"megapixels": math.inf}, "megapixels inf"),
    ],
)
def test_what_is_no_size(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TargetSize(**asked)


def test_sizes_out_of_reach() -> None:
    with pytest.raises(
        UsageError, match="400 x 300 is more than the size asked for, w399: there is nothing to enlarge"
    ):
        TargetSize(width=399).of(300, 400)
    with pytest.raises(UsageError, match=r"10 x 10 to edge161 is 16\.1 times as wide and high: at most 16"):
        TargetSize(long_edge=161).of(10, 10)
    with pytest.raises(UsageError, match="more than ×2: choose a larger scale"):
        TargetSize(factor=2.1).within((100, 100), 2)
    assert TargetSize(factor=2.1).within((100, 100), 4) == (210, 210)


def test_the_next_scale() -> None:
    expected = {1: 2, 1.5: 2, 2: 2, 2.01: 3, 3.5: 4, 4: 4, 5: 6, 8: 8, 8.5: 9, 10: 12, 16: 16}
    for factor, scale in expected.items():
        assert next_scale((100, 200), TargetSize(factor=factor).of(100, 200)) == scale
    assert all(math.prod(steps) == scale for scale, steps in STEPS.items())
    assert list(STEPS) == sorted(STEPS)


def test_the_scale_that_fits_is_enough_after_rounding() -> None:
    for side in range(1, 60):
        for factor in (1.9, 2, 2.5, 3, 3.99):
            assert next_scale((side, 7), TargetSize(factor=factor).of(side, 7)) <= math.ceil(factor)
