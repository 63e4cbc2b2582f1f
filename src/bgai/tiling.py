"""Where tiles lie, so that together they give what the whole image would.

The network pads to multiples of 16 and rolls its windows, so a tile sees the same windows as the whole image only if
it starts on a multiple of 16. What lies near a tile's cut edge differs all the same, and is cut off: that is the halo.
At the image's own edges nothing is cut off, because there the tile's edge is the picture's.
"""

from __future__ import annotations

from dataclasses import dataclass

from bgai.errors import UsageError

GRID = 16


@dataclass(frozen=True, slots=True)
class Span:
    """One tile along one axis, in low-resolution pixels: read start:stop, keep keep_start:keep_stop of the image."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


def check_sizes(tile: int, halo: int) -> None:
    """Refuse a tile or a halo that `plan_spans` cannot work with.

    Raises:
        UsageError: One is off the grid, or the halos leave nothing to keep.
    """
    for name, value in (("halo", halo), ("tile", tile)):
        if value % GRID or value < 0:
            raise UsageError(f"{name} {value}: expected a multiple of {GRID}")
    if tile <= 2 * halo:
        raise UsageError(f"tile {tile} with halo {halo} leaves nothing: expected a tile above {2 * halo}")


def plan_spans(length: int, tile: int, halo: int) -> list[Span]:
    """Cut an axis into overlapping tiles whose kept parts cover it once, in order.

    Args:
        length: Pixels of the image along the axis, from 1.
        tile: Longest tile, halo included; a multiple of 16 and longer than two halos.
        halo: Pixels cut off at each edge that is not the image's; a multiple of 16.

    Raises:
        UsageError: tile or halo is off the grid, or the halos leave nothing to keep.

    Example:
        >>> [(span.start, span.stop, span.keep_start, span.keep_stop) for span in plan_spans(100, 64, 16)]
        [(0, 64, 0, 48), (32, 96, 48, 80), (64, 100, 80, 100)]
    """
    check_sizes(tile, halo)
    if length <= tile:
        return [Span(0, length, 0, length)]
    count = -(-(length - 2 * halo) // (tile - 2 * halo))
    # Steps of equal length, as short as the grid allows, spare the last tile from being a sliver.
    step = -(-(length - 2 * halo) // (count * GRID)) * GRID
    spans = []
    for start in range(0, length, step):
        stop = min(start + step + 2 * halo, length)
        keep_start = start + halo if start else 0
        keep_stop = stop - halo if stop < length else length
        spans.append(Span(start, stop, keep_start, keep_stop))
        if stop == length:
            break
    return spans
