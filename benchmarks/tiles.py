"""How far tiled results lie from the whole image's, for several halos.

python benchmarks/tiles.py PICTURE [--weights FILE] [--size 640]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from bgai.image import read_rgb8
from bgai.upscale import Upscaler

BORDER = 64
CASES = ((16, 192), (32, 224), (40, 240), (48, 256), (64, 288))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--weights")
    parser.add_argument("--size", type=int, default=640, help="longest side that is used of the picture")
    options = parser.parse_args()
    image = read_rgb8(options.picture)[: options.size, : options.size].astype(np.float32) / 255
    whole = Upscaler(weights=options.weights, tile=0)
    inner = slice(BORDER * whole.scale, -BORDER * whole.scale)
    expected = whole.upscale(image)[inner, inner]
    print(f"{image.shape[1]} x {image.shape[0]}, more than {BORDER} pixels from the border, in levels of 255")
    print("halo  tile  largest   mean       largest 8-bit step  samples that differ in 8 bits")
    for halo, tile in CASES:
        tiled = Upscaler(weights=options.weights, tile=tile, halo=halo).upscale(image)[inner, inner]
        difference = np.abs(tiled - expected) * 255
        steps = np.abs(np.rint(tiled * 255) - np.rint(expected * 255))
        print(
            f"{halo:4}  {tile:4}  {difference.max():7.4f}  {difference.mean():9.2e}"
            f"  {steps.max():18.0f}  {(steps > 0).mean():.4%}"
        )


if __name__ == "__main__":
    main()
