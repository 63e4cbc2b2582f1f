"""Tiles cover an axis once, on the grid."""

from __future__ import annotations

import pytest

from bgai.errors import UsageError
from bgai.tiling import GRID, plan_spans


@pytest.mark.parametrize("tile", [64, 112, 256])
@pytest.mark.parametrize("halo", [0, 16])
def test_spans_cover_every_length_once(tile: int, halo: int) -> None:
    for length in range(1, 700):
        spans = plan_spans(length, tile, halo)
        kept = [pixel for span in spans for pixel in range(span.keep_start, span.keep_stop)]
        assert kept == list(range(length))
        for span in spans:
            assert span.start % GRID == 0
            assert 0 < span.stop - span.start <= tile
            assert span.keep_start - span.start >= (halo if span.start else 0)
            assert span.stop - span.keep_stop >= (halo if span.stop < length else 0)


def test_a_short_axis_is_one_tile() -> None:
    (span,) = plan_spans(50, 64, 16)
    assert (span.start, span.stop, span.keep_start, span.keep_stop) == (0, 50, 0, 50)


@pytest.mark.parametrize(
    ("tile", "halo", "message"), [(60, 16, "tile 60"), (64, 10, "halo 10"), (64, 32, "leaves nothing")]
)
def test_sizes_off_the_grid_are_refused(tile: int, halo: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_spans(500, tile, halo)
