"""How far half precision of the engine native lies from its float32, in 8-bit samples of whole sets.

python benchmarks/half_precision.py TESTSETS [--sets Set14 B100] [--weights bgai photo official] [--scales 2 3 4]

TESTSETS holds the sets, with LR images in X2, X3 and X4.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from progress import show

from bgai.engines.base import Engine
from bgai.engines.selection import PRECISIONS, open_engine
from bgai.pictures.reading import read_rgb8
from bgai.types import RgbImage
from bgai.weights.sources import find_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("testsets", type=Path)
    parser.add_argument("--sets", nargs="+", default=["Set14", "B100"])
    parser.add_argument("--weights", nargs="+", default=["bgai", "photo", "official"])
    parser.add_argument("--scales", nargs="+", type=int, default=[2, 3, 4])
    options = parser.parse_args()
    print("| weights | scale | 8-bit samples | off by one level, of 10,000 | by more, of 10,000 | most |")
    print("|---|---|---|---|---|---|")
    for weights in options.weights:
        for scale in options.scales:
            folders = [options.testsets / name / f"X{scale}" for name in options.sets]
            files = [file for folder in folders for file in sorted(folder.glob("*.png"))]
            counts = count(weights, scale, files)
            one, more = counts[1], counts[2:].sum()
            shares = " | ".join(f"{each / counts.sum() * 1e4:.2f}" for each in (one, more))
            print(f"| {weights} | ×{scale} | {counts.sum():,} | {shares} | {np.flatnonzero(counts)[-1]} |", flush=True)


def count(weights: str, scale: int, files: list[Path]) -> NDArray[np.int64]:
    """How many samples are off by 0, 1, … 255 levels."""
    exact, half = (open_engine(find_weights(weights, scale), "native", "cpu", each) for each in PRECISIONS)
    counts = np.zeros(256, np.int64)
    for number, file in enumerate(files):
        show(f"{weights} ×{scale}", number, len(files))
        picture = read_rgb8(file)
        difference = enlarged(exact, picture) - enlarged(half, picture)
        counts += np.bincount(np.abs(difference).ravel(), minlength=256)
    return counts


def enlarged(engine: Engine, picture: RgbImage) -> NDArray[np.int16]:
    tile = picture.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    levels: NDArray[np.int16] = np.rint(engine(tile).clip(0, 1) * 255).astype(np.int16)
    return levels


if __name__ == "__main__":
    main()
