"""How far tiled results lie from the whole image's, for several halos.

python benchmarks/tiles.py PICTURE [--weights FILE] [--size 640]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bgai.errors import WeightsError
from bgai.pictures.reading import read_rgb8
from bgai.upscaling.upscaler import Upscaler

BORDER = 64
HALOS = (16, 24, 32, 40, 48, 56, 64, 72, 80)
KEPT = 160  # of a tile's side
SIZE = 640


@dataclass(frozen=True, slots=True)
class Difference:
    """Of tiled results from the whole image's, more than `BORDER` pixels from the border, in levels of 255."""

    halo: int
    tile: int
    largest: float
    mean: float
    step: float
    """The largest of 8-bit samples."""
    share: float
    """Of 8-bit samples that differ."""

    @property
    def is_safe(self) -> bool:
        """Whether it is half of what the README promises of tiles: other pictures differ more than those measured."""
        return self.step <= 1 and self.share <= 5e-5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--weights")
    parser.add_argument("--size", type=int, default=SIZE, help="longest side that is used of the picture")
    options = parser.parse_args()
    image = read_part(options.picture, options.size)
    print(f"{image.shape[1]} x {image.shape[0]}, more than {BORDER} pixels from the border, in levels of 255")
    print("halo  tile  largest   mean       largest 8-bit step  samples that differ in 8 bits")
    for row in differences(image, options.weights):
        print(f"{row.halo:4}  {row.tile:4}  {row.largest:7.4f}  {row.mean:9.2e}  {row.step:18.0f}  {row.share:.4%}")


def read_part(picture: Path, size: int = SIZE) -> NDArray[np.float32]:
    """The picture's upper left, at most `size` pixels a side."""
    return read_rgb8(picture)[:size, :size].astype(np.float32) / np.float32(255)


def differences(image: NDArray[np.float32], weights: str | Path | None) -> Iterator[Difference]:
    """For each of `HALOS`, the smallest first."""
    whole = Upscaler(weights=weights, tile=0)
    inner = slice(BORDER * whole.scale, -BORDER * whole.scale)
    expected = whole.upscale(image)[inner, inner]
    for halo in HALOS:
        tile = KEPT + 2 * halo
        tiled = Upscaler(weights=weights, tile=tile, halo=halo).upscale(image)[inner, inner]
        off = np.abs(tiled - expected) * 255
        steps = np.abs(np.rint(tiled * 255) - np.rint(expected * 255))
        yield Difference(halo, tile, *map(float, (off.max(), off.mean(), steps.max(), (steps > 0).mean())))


def smallest_halo(weights: str | Path, pictures: Sequence[Path]) -> int:
    """The smallest of `HALOS` with which tiles give what the whole image does, on each of several pictures.

    Raises:
        ImageError: A picture cannot be read.
        WeightsError: None of them does.
    """
    halos = []
    for picture in pictures:
        safe = (row.halo for row in differences(read_part(picture), weights) if row.is_safe)
        halos.append(next(safe, None))
        if halos[-1] is None:
            raise WeightsError(f"{weights}: tiles of {picture} differ too much from the whole image, with any halo")
    return max(halo for halo in halos if halo is not None)


if __name__ == "__main__":
    main()
