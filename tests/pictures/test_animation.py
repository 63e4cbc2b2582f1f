"""Times of animations."""

from __future__ import annotations

from itertools import accumulate

import pytest

from bgai.pictures.animation import Animation, rounded_delays


@pytest.mark.parametrize("step", [1, 10])
def test_rounded_times_do_not_drift(step: int) -> None:
    delays = [1000 / 30] * 90
    found = rounded_delays(delays, step)
    assert all(delay % step == 0 for delay in found)
    assert all(abs(end - wanted) <= step / 2 for end, wanted in zip(accumulate(found), accumulate(delays), strict=True))


def test_whole_times_stay() -> None:
    assert rounded_delays([100, 0, 70], 10) == [100, 0, 70]
    assert Animation((1.0, 2.0), 0).count == 2
