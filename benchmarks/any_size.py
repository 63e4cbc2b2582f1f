"""PSNR on the luma of enlargements by other factors than the networks', and of ways to reduce what they make.

python benchmarks/any_size.py testsets/Set14/HR [--factors 1.5 2.5 3.5 6 8] [-o docs/upscaling.md]

LR images are made by MATLAB's bicubic reduction by the factor; HR images are cut so that their sides are multiples of
it. Writes the table between the two marks of a page, or prints it.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from page import made_by, replace_figures

from bgai.datasets.matlab_resize import imresize
from bgai.evaluation.metrics import psnr
from bgai.pictures.reading import read_rgb8
from bgai.types import RgbImage, Size
from bgai.upscaling.fitting import open_upscalers
from bgai.upscaling.reduction import reduce_strips
from bgai.upscaling.sizes import TargetSize, plan_enlargement
from bgai.upscaling.upscaler import Upscaler

Samples = NDArray[np.floating[Any]]
WAYS = ("bicubic", "Lanczos", "**bgai**", "reduced by Lanczos", "reduced in linear light")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="a folder of HR images")
    parser.add_argument("--factors", type=float, nargs="+", default=[1.5, 2.5, 3.5, 6, 8])
    parser.add_argument("-o", "--output", type=Path, help="a page of docs")
    options = parser.parse_args()
    images = [read_rgb8(path) for path in sorted(options.images.glob("*.png"))]
    lines = [f"| factor | networks | {' | '.join(WAYS)} |", "|---" * (len(WAYS) + 2) + "|"]
    for factor in options.factors:
        upscalers = open_upscalers(lambda *how: Upscaler(how[0], how[1]), None, "bgai", sized=True)
        scale = plan_enlargement((100, 100), None, TargetSize(factor=factor)).scale
        upscaler = upscalers.at(scale)  # type: ignore[union-attr]
        assert isinstance(upscaler, Upscaler)
        scores = [measure(image, factor, upscaler) for image in images]
        means = (f"{statistics.mean(column):.2f}" for column in zip(*scores, strict=True))
        lines.append(f"| {factor:g} | ×{scale} | {' | '.join(means)} |")
        print(lines[-1], flush=True)
    text = "\n".join(lines) + f"\n\n{made_by()}\n"
    if options.output:
        replace_figures(options.output, text)
    else:
        print(text)


def measure(image: RgbImage, factor: float, upscaler: Upscaler) -> list[float]:
    """PSNR of each of `WAYS` for one image."""
    step = Fraction(factor).limit_denominator(10).numerator
    height, width = (side - side % step for side in image.shape[:2])
    hr = np.ascontiguousarray(image[:height, :width])
    lr = imresize(hr, 1 / factor)
    sr = upscaler.upscale(lr)
    results = (
        imresize(lr / 255, factor),
        lanczos(lr / 255, (height, width)),
        reduced((sr / 255).astype(np.float32), (height, width)),
        lanczos(sr / 255, (height, width)),
        from_linear(reduced(to_linear(sr / 255).astype(np.float32), (height, width))),
    )
    return [psnr(np.rint(result * 255).clip(0, 255).astype(np.uint8), hr, int(factor + 0.5)) for result in results]


def reduced(image: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    return np.concatenate(list(reduce_strips(one(image), (image.shape[0], image.shape[1]), size)))


def one(image: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    yield image


def lanczos(image: Samples, size: Size) -> Samples:
    """By Lanczos with three lobes, antialiased where it reduces."""
    if image.shape[:2] == size:
        return image
    down, across = (lanczos_matrix(old, new) for old, new in zip(image.shape[:2], size, strict=True))
    resized: Samples = np.einsum("ih,hwc,jw->ijc", down, image, across, optimize=True)
    return resized


def lanczos_matrix(old: int, new: int) -> Samples:
    """new x old."""
    stretch = max(1, old / new)
    positions = np.arange(-old, 2 * old)
    offsets = (((np.arange(new) + 0.5) * old / new - 0.5)[:, None] - positions) / stretch
    weights = np.where(np.abs(offsets) < 3, np.sinc(offsets) * np.sinc(offsets / 3), 0)
    before, within, after = np.split(weights / weights.sum(1, keepdims=True), 3, axis=1)
    mirrored: Samples = within + before[:, ::-1] + after[:, ::-1]
    return mirrored


def to_linear(image: Samples) -> Samples:
    """Samples of sRGB to linear light (IEC 61966-2-1)."""
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def from_linear(image: Samples) -> Samples:
    """The inverse of `to_linear`."""
    light = image.clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


if __name__ == "__main__":
    main()
