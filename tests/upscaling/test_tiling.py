"""Tiles cover an axis once, on the grid, and are of one size."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bgai.errors import UsageError
from bgai.network.config import GRID
from bgai.upscaling.tiling import Span, plan_spans, plan_tiles


@pytest.mark.parametrize("tile", [64, 112, 256])
@pytest.mark.parametrize("halo", [0, 16, 24])
def test_spans_cover_every_length_once(tile: int, halo: int) -> None:
    for length in range(1, 700):
        spans = plan_spans(length, tile, halo)
        kept = [pixel for span in spans for pixel in range(span.keep_start, span.keep_stop)]
        assert kept == list(range(length))
        assert len({span.length for span in spans}) == 1
        assert 0 < spans[0].length <= tile + length % GRID
        for span in spans:
            assert span.start % GRID == 0
            assert 0 <= span.start < span.stop <= length
            assert span.keep_start - span.start >= (halo if span.start else 0)
            # A window that a cut edge cuts, too, is part of the edge.
            assert span.stop - span.keep_stop >= (halo + length % GRID if span.stop < length else 0)


def test_a_short_axis_is_one_tile() -> None:
    for length in (50, 64, 79):
        (span,) = plan_spans(length, 64, 16)
        assert (span.start, span.stop, span.keep_start, span.keep_stop) == (0, length, 0, length)


@pytest.mark.parametrize(
    ("tile", "halo", "message"), [(60, 16, "tile 60"), (64, 10, "halo 10"), (64, 32, "leaves nothing")]
)
def test_sizes_off_the_grid_are_refused(tile: int, halo: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_spans(500, tile, halo)


def padded_area(rows: Sequence[Span], columns: Sequence[Span]) -> int:
    """Of a tile, as it lies in memory."""
    height, width = (-(-spans[0].length // GRID) * GRID for spans in (rows, columns))
    return height * max(width, 64)


@pytest.mark.parametrize(
    "size", [(1080, 1920), (1081, 1919), (6000, 8000), (100, 5000), (20, 30), (1, 30000), (30000, 1)]
)
@pytest.mark.parametrize("pixels", [40_000, 170_000])
def test_tiles_are_as_large_as_they_may_be(size: tuple[int, int], pixels: int) -> None:
    rows, columns = plan_tiles(*size, pixels, 48)
    assert rows[-1].stop == size[0]
    assert columns[-1].stop == size[1]
    area = padded_area(rows, columns)
    assert area <= pixels
    read = len(rows) * len(columns) * area
    for side in range(112, 800, 16):  # squares are never better
        tiles = plan_spans(size[0], side, 48), plan_spans(size[1], side, 48)
        if padded_area(*tiles) <= pixels:
            assert read <= len(tiles[0]) * len(tiles[1]) * padded_area(*tiles)


def test_what_rows_of_tiles_make_takes_its_part_of_the_room() -> None:
    heights = []
    for pixels_per_row in (0, 100, 300):
        rows, columns = plan_tiles(6000, 8000, 100_000, 32, pixels_per_row)
        kept = max(span.keep_stop - span.keep_start for span in rows)
        assert rows[0].length * columns[0].length + pixels_per_row * kept <= 100_000
        heights.append(rows[0].length)
    assert heights == sorted(set(heights), reverse=True)


def test_too_few_pixels_give_the_smallest_tiles() -> None:
    rows, columns = plan_tiles(500, 500, 100, 48)
    assert rows[0].length == columns[0].length == 112 + 500 % GRID


def test_what_is_kept_of_high_tiles_may_leave_no_room_for_them() -> None:
    """Where rows of tiles take most of the room, high tiles would fit were it not for what is made of them."""
    rows, columns = plan_tiles(300, 300, 15_000, 16, pixels_per_row=200)
    kept = max(span.keep_stop - span.keep_start for span in rows)
    assert rows[0].length * columns[0].length + 200 * kept <= 15_000


@pytest.mark.parametrize("halo", [8, 24, 40])
def test_a_halo_may_end_in_the_middle_of_a_window(halo: int) -> None:
    rows, columns = plan_tiles(300, 310, 20_000, halo)
    assert rows[0].length * columns[0].length <= 20_000
    assert rows[1].keep_start - rows[1].start == columns[1].keep_start - columns[1].start == halo
