"""The README's picture: photographs as JPEG of quality 60, enlarged by bicubic interpolation and by `bgai upscale`.

python benchmarks/before_after.py docs/before-after.webp

A cat at ×4, of which there is no larger original; and a cup, halved and compressed here, beside what it was.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pyvips
from sheet import Pixels, crop, write_sheet

from bgai.datasets.matlab_resize import imresize
from bgai.errors import BgaiError
from bgai.pictures.reading import read_rgb8

EXAMPLES = Path(__file__).parents[1] / "examples"
QUALITY = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    cat, cup = EXAMPLES / "cat.jpg", read_rgb8(EXAMPLES / "coffee.webp")
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "coffee.jpg"
        save_jpeg(imresize(cup, 1 / 2), small)
        first = {"bicubic": imresize(read_rgb8(cat), 4), "bgai": upscaled(cat, 4)}
        second = {"bicubic": imresize(read_rgb8(small), 2), "bgai": upscaled(small, 2), "original": cup}
    rows = [
        {name: crop(pixels, 420, 230, 716, 400) for name, pixels in first.items()},
        {name: crop(pixels, 210, 210, 237, 160, times=2) for name, pixels in second.items()},
    ]
    write_sheet(output, rows)


def save_jpeg(pixels: Pixels, target: Path) -> None:
    height, width, channels = pixels.shape
    image = pyvips.Image.new_from_memory(pixels.tobytes(), width, height, channels, "uchar")
    image.copy(interpretation="srgb").jpegsave(str(target), Q=QUALITY, subsample_mode="on")


def upscaled(path: Path, scale: int) -> Pixels:
    """What the command makes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "enlarged.png"
        command = [sys.executable, "-m", "bgai", "upscale", path, "--scale", str(scale), "-o", target]
        subprocess.run(command, check=True)
        return read_rgb8(target)


if __name__ == "__main__":
    try:
        main()
    except BgaiError as error:
        sys.exit(f"before_after.py: {error}")
