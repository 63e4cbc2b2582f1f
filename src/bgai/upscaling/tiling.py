"""Positions of tiles, chosen so that together they give the same result as the whole image.

The network pads to multiples of 16 and rolls its windows, so a tile sees the same windows as the whole image only if
it starts on a multiple of 16. Pixels near a tile's cut edge differ all the same. This margin, the halo, is cut off.
At the image's own edges nothing is cut off, because there the tile ends where the image ends.

All tiles of an image are of one size: the fastest engine compiles a graph for each size. So where the image's side is
no multiple of 16, neither is that of its tiles, and the partial window at the end of each is cut off with the halo.
"""

from __future__ import annotations

from dataclasses import dataclass

from bgai.errors import UsageError
from bgai.network.config import GRID


@dataclass(frozen=True, slots=True)
class Span:
    """One tile along one axis, in low-resolution pixels: read start:stop, keep keep_start:keep_stop of the image."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


def check_sizes(tile: int, halo: int) -> None:
    """Refuse a tile or a halo that `plan_spans` cannot work with.

    Raises:
        UsageError: One is off the grid, or the halos leave nothing to keep.
    """
    # Halves of the grid add up where two halos meet.
    for name, value, step in (("halo", halo, GRID // 2), ("tile", tile, GRID)):
        if value % step or value < 0:
            raise UsageError(f"{name} {value}: expected a multiple of {step}")
    if tile <= 2 * halo:
        raise UsageError(f"tile {tile} with halo {halo} leaves nothing: expected a tile above {2 * halo}")


def plan_spans(length: int, tile: int, halo: int) -> list[Span]:
    """Cut an axis into overlapping tiles of one length whose kept parts cover it once, in order.

    Args:
        length: Pixels of the image along the axis, from 1.
        tile: Longest tile, halo included; a multiple of 16 and longer than two halos. Where `length` is no multiple of
            16, tiles are longer by the remainder.
        halo: Pixels cut off at each edge that is not the image's; a multiple of 8.

    Raises:
        UsageError: tile or halo is off the grid, or the halos leave nothing to keep.

    Example:
        >>> [(span.start, span.stop, span.keep_start, span.keep_stop) for span in plan_spans(100, 64, 16)]
        [(0, 68, 0, 48), (32, 100, 48, 100)]
    """
    check_sizes(tile, halo)
    whole, rest = length - length % GRID, length % GRID
    count = max(1, -(-(whole - 2 * halo) // (tile - 2 * halo)))
    # As short as the grid allows, and the overlap that is too much spread evenly.
    side = -(-(whole + 2 * halo * (count - 1)) // (count * GRID)) * GRID
    starts = [(whole - side) * index // (max(count - 1, 1) * GRID) * GRID for index in range(count)]
    edges = [0, *(start + halo for start in starts[1:]), length]
    return [
        Span(start, start + side + rest, keep_start, keep_stop)
        for start, keep_start, keep_stop in zip(starts, edges[:-1], edges[1:], strict=True)
    ]


def plan_tiles(
    height: int, width: int, pixels: int, halo: int, pixels_per_row: float = 0, most: int | None = None
) -> tuple[list[Span], list[Span]]:
    """Cut an image into the tiles that read the fewest pixels in all; rows first, then columns.

    Args:
        height: Pixels of the image.
        width: The same.
        pixels: Room in memory, in pixels of a tile that the network has padded: for one tile, and for the output of a
            row of tiles.
        halo: As for `plan_spans`.
        pixels_per_row: How much of this room each kept row of pixels takes.
        most: Pixels of the largest tile, however much room there is.

    Where halos alone take more room than there is, tiles are as small as they can be.
    """
    least = 2 * halo + GRID
    most = pixels if most is None else min(pixels, most)
    best: tuple[list[Span], list[Span]] | None = None
    cost = 0
    highest = max(min(height, most // min(least, _width_in_memory(width))), least)
    for tile_height in range(least, highest + GRID, GRID):
        rows = plan_spans(height, tile_height, halo)
        strip = pixels_per_row * max(span.keep_stop - span.keep_start for span in rows)
        room = min(int(pixels - strip), most)
        tile_width = max(room // _padded(rows[0].length) // GRID * GRID - _padded(width % GRID), least)
        columns = plan_spans(width, tile_width, halo)
        area = _padded(rows[0].length) * _width_in_memory(columns[0].length)
        total = len(rows) * len(columns) * area
        if best is None or (area <= room and (total < cost or cost == 0)):
            best, cost = (rows, columns), total if area <= room else 0
    assert best is not None
    return best


def _padded(length: int) -> int:
    return -(-length // GRID) * GRID


def _width_in_memory(width: int) -> int:
    """Rows of less than 64 pixels take as much memory as one of 64, because engines leave room between rows."""
    return max(_padded(width), 4 * GRID)
