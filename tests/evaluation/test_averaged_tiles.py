"""The original project's overlapping tiles."""

from __future__ import annotations

import numpy as np
import pytest
from support import texture

from bgai.evaluation.averaged_tiles import enlarge_averaging, starts
from bgai.types import Tiles


class Repeat:
    """Enlarges twice by repeating pixels; what is in a tile's left column and top row comes out black."""

    name, device, scale, bytes_per_pixel = "repeat", "cpu", 2, 1

    def __init__(self, spoil: bool) -> None:
        self.spoil = spoil
        self.shapes: set[tuple[int, ...]] = set()

    def __call__(self, tiles: Tiles, count: int = 1) -> Tiles:
        self.shapes.add(tiles.shape[2:])
        enlarged = tiles.repeat(2, 2).repeat(2, 3)
        if self.spoil:
            enlarged[:, :, :2] = enlarged[:, :, :, :2] = 0
        return enlarged

    def prepare(self, size: tuple[int, int], count: int) -> None:
        pass

    def release(self) -> None:
        pass

    def rest(self) -> None:
        pass

    def free_memory(self) -> int:
        return 2**30


@pytest.mark.parametrize(("height", "width"), [(64, 64), (150, 130), (124, 700), (40, 200)])
def test_tiles_cover_the_image(height: int, width: int) -> None:
    lr, engine = texture(height, width), Repeat(spoil=False)
    np.testing.assert_array_equal(enlarge_averaging(engine, lr, 64), lr.repeat(2, 0).repeat(2, 1))
    side = min(64, height)
    assert engine.shapes == {(side, side)}


def test_overlaps_are_means() -> None:
    lr = np.full((64, 124, 3), 200, np.uint8)  # two tiles, at 0 and 60
    enlarged = enlarge_averaging(Repeat(spoil=True), lr, 64)
    assert (enlarged[2:, 118:120] == 200).all()
    assert (enlarged[2:, 120:122] == 100).all()
    assert (enlarged[2:, 122:] == 200).all()


def test_the_last_tile_may_overlap_more() -> None:
    """Against the definition: sums and counts over the whole image."""
    lr, engine = texture(131, 70), Repeat(spoil=True)
    total, count = np.zeros((262, 140, 3)), np.zeros((262, 140, 1))
    for top in starts(131, 64):
        for left in starts(70, 64):
            tile = lr[top : top + 64, left : left + 64].transpose(2, 0, 1)[None].astype(np.float32)
            place = slice(2 * top, 2 * top + 128), slice(2 * left, 2 * left + 128)
            total[place] += engine(tile)[0].transpose(1, 2, 0)
            count[place] += 1
    assert np.abs(enlarge_averaging(engine, lr, 64) - total / count).max() <= 0.5001
