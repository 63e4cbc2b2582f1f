"""What each of the package's weights makes of a picture, beside bicubic interpolation, for looking at.

python benchmarks/side_by_side.py PICTURE -o sheet.webp [--scale 2] [--part LEFT TOP WIDTH HEIGHT]

The part is enlarged alone, in pixels of PICTURE; without it, the middle 190 x 150. Prints what `--weights auto` takes
for the whole file. Needs Pillow.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sheet import Pixels, Row, crop, write_sheet

from bgai.datasets.matlab_resize import imresize
from bgai.errors import BgaiError
from bgai.pictures.reading import read_picture, read_rgb8
from bgai.upscaling.fitting import FittingUpscalers
from bgai.upscaling.upscaler import Upscaler

CLEAN = {"bgai": 0, "clean 0.75": 0.75, "photo": 1}
WIDTH, HEIGHT = 190, 150


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--part", nargs=4, type=int, metavar=("LEFT", "TOP", "WIDTH", "HEIGHT"))
    options = parser.parse_args()
    fitting = FittingUpscalers(lambda name: Upscaler(options.scale, name))
    print(fitting.pick(options.picture, read_picture(options.picture))[1])
    pixels = read_rgb8(options.picture)
    write_sheet(options.output, [enlarged(crop(pixels, *(options.part or middle(pixels))), options.scale)])


def middle(pixels: Pixels) -> tuple[int, int, int, int]:
    """Left, top, width and height."""
    height, width = pixels.shape[:2]
    return max(0, (width - WIDTH) // 2), max(0, (height - HEIGHT) // 2), min(width, WIDTH), min(height, HEIGHT)


def enlarged(part: Pixels, scale: int) -> Row:
    ours = {name: Upscaler(scale, clean=clean).upscale(part) for name, clean in CLEAN.items()}
    return {"bicubic": imresize(part, scale), **ours}


if __name__ == "__main__":
    try:
        main()
    except BgaiError as error:
        sys.exit(f"side_by_side.py: {error}")
