"""Puts crops of the example side by side: enlarged by bicubic interpolation, by bgai, and as it was drawn.

python examples/render_scene.py --hr house_hr.png
python examples/before_after.py house_hr.png docs/before-after.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import bgai

# Left and top of crops of the 2048 x 1536 original.
CROPS = ((790, 850), (440, 680))
WIDTH, HEIGHT = 480, 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    original = Image.open(options.original).convert("RGB")
    small = Image.open(Path(__file__).parent / "house.png").convert("RGB")
    enlarged = Image.fromarray(bgai.Upscaler(scale=4).upscale(np.array(small)))
    columns = {"bicubic": small.resize(original.size, Image.Resampling.BICUBIC), "bgai": enlarged, "original": original}
    width, height, caption = WIDTH, HEIGHT, 36
    sheet = Image.new("RGB", (len(columns) * (width + 8) - 8, caption + len(CROPS) * (height + 8) - 8), "white")
    draw = ImageDraw.Draw(sheet)
    for column, (name, picture) in enumerate(columns.items()):
        draw.text((column * (width + 8) + 6, 4), name, "black", ImageFont.load_default(24))
        for row, (left, top) in enumerate(CROPS):
            crop = picture.crop((left, top, left + WIDTH, top + HEIGHT))
            sheet.paste(crop, (column * (width + 8), caption + row * (height + 8)))
    sheet.save(options.output, optimize=True)


if __name__ == "__main__":
    main()
