"""Parts of the page of results; the whole of it is tested in test_testing."""

from __future__ import annotations

import numpy as np
from support import texture

from bgai.evaluation.html_report import Example, _readable


def test_an_example_is_where_the_difference_lies() -> None:
    hr = texture(200, 300)
    bicubic, sr = hr.copy(), hr.copy()
    bicubic[150:180, 230:270] ^= 64  # SR is better there
    sr[10:40, 20:60] ^= 64  # and worse there
    most = Example.cut("Set5", "a", True, bicubic, sr, hr)
    least = Example.cut("Set5", "a", False, bicubic, sr, hr)
    assert most.sr.shape == most.hr.shape == most.bicubic.shape == (144, 144, 3)
    assert np.array_equal(most.sr, most.hr)
    assert (most.bicubic != most.hr).sum() == (bicubic != hr).sum()
    assert np.array_equal(least.bicubic, least.hr)
    assert (least.sr != least.hr).sum() == (sr != hr).sum()


def test_small_images_are_examples_as_a_whole() -> None:
    hr = texture(20, 30)
    assert Example.cut("Set5", "a", True, hr, hr, hr).hr.shape == (20, 30, 3)


def test_names_that_would_cover_each_other_are_left_out() -> None:
    points = {"low": (100.0, 30.0), "far": (900.0, 30.0), "near": (110.0, 30.01), "top": (500.0, 32.0)}
    assert _readable(points) == ["top", "near", "far"]
