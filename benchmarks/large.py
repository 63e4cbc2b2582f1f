"""What tiles cost on large images: the original project's, averaged where they overlap, and ours, against the whole.

python benchmarks/large.py HR_FOLDER [--weights official] [--picture docs/tiles.png]

Prints a table of PSNR and SSIM over RGB, as papers have them for large images, of seconds, and of how far each way is
from the whole image at once, more than 64 pixels from the border; where memory is too small for that, it is left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from progress import show

from bgai.atomic_files import whole_or_nothing
from bgai.datasets.pairs import PairedImages
from bgai.errors import BgaiError
from bgai.evaluation.result_folder import Results, mean, means
from bgai.evaluation.run import run_test
from bgai.options.evaluation import TestOptions
from bgai.pictures.reading import read_rgb8
from bgai.pictures.writing import encode_png
from bgai.types import RgbImage

SCALE = 4
WAYS: dict[str, dict[str, Any]] = {
    "whole": {"tile": 0},
    "grid256": {"tile": 256},
    "averaged64": {"model_type": "TileModel", "tile": 64},
}
NAMES = {
    "whole": "whole image",
    "grid256": "256 on the grid, 48 cut off",
    "averaged64": "64 overlapping by 4, averaged",
}
PART, AMPLIFIED = 160, 16
BORDER = 64  # low-resolution pixels in which the network's windows wrap around the edges of whatever it is given


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hr", type=Path)
    parser.add_argument("--weights", default="bgai")
    parser.add_argument("--picture", type=Path, help="of the place where averaged tiles are farthest from the whole")
    arguments = parser.parse_args()
    found: dict[str, Results] = {}
    for way in WAYS:
        try:
            found[way] = run_test(test_options(arguments.hr, arguments.weights, way), device="cpu", progress=show)
        except BgaiError as error:
            if way != "whole" or "as a whole takes" not in str(error):
                raise
            print(f"\nleft out: {error}", file=sys.stderr)
    print(f"\n{table(found)}")
    if arguments.picture and "whole" in found:
        with whole_or_nothing(arguments.picture) as partial:
            partial.write_bytes(encode_png(picture(found, arguments.hr)))


def test_options(hr: Path, weights: str, way: str) -> TestOptions:
    metrics = {name: {"type": f"calculate_{name}", "crop_border": 0} for name in ("psnr", "ssim")}
    return TestOptions.model_validate(
        {
            "name": f"large_{hr.name}_{weights}_{way}",
            "scale": SCALE,
            "datasets": {"test_1": {"name": hr.name, "dataroot_gt": hr}},
            "path": {"pretrain_network_g": weights},
            "val": {"metrics": metrics, "save_img": True, "suffix": "sr"},
            **WAYS[way],
        }
    )


def table(found: dict[str, Results]) -> str:
    head = "| tiles | PSNR | SSIM | seconds an image | farthest from the whole | samples that differ |"
    lines = [head, "|---|---|---|---|---|---|"]
    for way, results in found.items():
        scores = means([measurement.scores for measurement in results.measurements])
        seconds = mean([measurement.seconds for measurement in results.measurements])
        cells = [f"{scores['psnr']:.3f}", f"{scores['ssim']:.4f}", f"{seconds:.1f}", *difference(results, found)]
        lines.append(f"| {NAMES[way]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def difference(results: Results, found: dict[str, Results]) -> tuple[str, str]:
    whole = found.get("whole")
    if whole is None or whole is results:
        return "", ""
    largest, differing, samples = 0, 0, 0
    for measurement in results.measurements:
        inner = slice(BORDER * SCALE, -BORDER * SCALE)
        steps = np.abs(enlarged(results, measurement.image).astype(int) - enlarged(whole, measurement.image))[
            inner, inner
        ]
        largest = max(largest, int(steps.max()))
        differing += int(np.count_nonzero(steps))
        samples += steps.size
    return f"{largest} of 255", f"{100 * differing / samples:.4f} %"


def enlarged(results: Results, image: str) -> RgbImage:
    return read_rgb8(results.folder / "visualization" / results.datasets[0] / f"{image}_sr.png")


def picture(found: dict[str, Results], hr: Path) -> RgbImage:
    """HR and each way; below, their differences from the whole, amplified."""
    image = found["whole"].measurements[0].image
    originals = PairedImages(hr, None, SCALE)
    original = originals.read(originals.names.index(image))[1]
    pixels = {way: enlarged(results, image) for way, results in found.items()}
    worst = np.abs(pixels["averaged64"].astype(int) - pixels["whole"]).max(axis=2)
    border = BORDER * SCALE
    worst[:border] = worst[-border:] = worst[:, :border] = worst[:, -border:] = 0
    height, width = (side - side % 16 for side in worst.shape)
    cells = worst[:height, :width].reshape(height // 16, 16, width // 16, 16).sum(axis=(1, 3))
    top, left = (int(place) * 16 for place in np.unravel_index(cells.argmax(), cells.shape))
    top, left = (
        min(max(at - PART // 2, 0), side - PART) for at, side in ((top, worst.shape[0]), (left, worst.shape[1]))
    )
    part = slice(top, top + PART), slice(left, left + PART)
    above = [original[part], *(enlargement[part] for enlargement in pixels.values())]
    below = [np.full((PART, PART, 3), 255, np.uint8)]
    for enlargement in pixels.values():
        steps = enlargement[part].astype(int) - pixels["whole"][part]
        below.append(np.clip(128 + AMPLIFIED * steps, 0, 255).astype(np.uint8))
    rows = [np.concatenate([framed(cell) for cell in row], axis=1) for row in (above, below)]
    return np.concatenate(rows).repeat(2, 0).repeat(2, 1)


def framed(part: RgbImage) -> RgbImage:
    return np.pad(part, ((0, 2), (0, 2), (0, 0)), constant_values=255)


if __name__ == "__main__":
    try:
        main()
    except BgaiError as error:
        sys.exit(f"large.py: {error}")
