"""Large test images from small photographs: a grid of their middles, as lossless PNG.

python benchmarks/mosaics.py PHOTOGRAPHS OUT_FOLDER [--size 2048x1080] [--count 2]

PHOTOGRAPHS is searched to any depth; which of them are taken depends on the seed alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from bgai.atomic_files import whole_or_nothing
from bgai.datasets.pairs import FolderImages, Image
from bgai.errors import BgaiError, ImageError
from bgai.pictures.writing import encode_png

CELL = (320, 480)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="2048x1080", help="width x height of the images")
    parser.add_argument("--count", type=int, default=2, help="how many images")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    images = FolderImages(options.photographs)
    large = [key for key in images.keys if all(side >= cell for side, cell in zip(images.size(key), CELL, strict=True))]
    needed = -(-height // CELL[0]) * -(-width // CELL[1]) * options.count
    if len(large) < needed:
        raise ImageError(f"{options.photographs}: {len(large)} photographs of at least 480 x 320; expected {needed}")
    chosen = np.random.default_rng(options.seed).permutation(large)[:needed].reshape(options.count, -1)
    for index, keys in enumerate(chosen):
        pixels = mosaic(images, list(keys), height, width)
        with whole_or_nothing(options.out / f"{options.size}_{index}.png") as partial:
            partial.write_bytes(encode_png(pixels))


def mosaic(images: FolderImages, keys: list[str], height: int, width: int) -> Image:
    pixels = np.empty((height, width, 3), np.uint8)
    remaining = iter(keys)
    for top in range(0, height, CELL[0]):
        for left in range(0, width, CELL[1]):
            photograph = images.read(next(remaining))
            place = pixels[top : top + CELL[0], left : left + CELL[1]]
            down, right = ((have - want) // 2 for have, want in zip(photograph.shape, place.shape[:2], strict=False))
            place[:] = photograph[down : down + place.shape[0], right : right + place.shape[1]]
    return pixels


if __name__ == "__main__":
    try:
        main()
    except BgaiError as error:
        sys.exit(f"mosaics.py: {error}")
