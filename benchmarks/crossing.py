"""From which quality of compression on the package's plain weights do better than those for compressed pictures.

python benchmarks/crossing.py IMAGE... [--scale 4] [--photo FILE] [--encoder WebP ...] [--quality 50 60 ...]
    [--clean 0.5 ...]

Each IMAGE, or each of a folder, is made small by MATLAB's bicubic, compressed in several formats and qualities, and
enlarged again; the tables hold the mean PSNR-Y in dB. `read as` is what `--weights auto` decides by.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray
from progress import show

from bgai.datasets.matlab_resize import imresize
from bgai.errors import BgaiError, ImageError
from bgai.evaluation.metrics import psnr
from bgai.pictures.compression import Compression, read_compression
from bgai.pictures.reading import INPUT_SUFFIXES, decode_rgb8, read_rgb8
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.sources import Weights, find_weights

CLEAN = (0, 0.25, 0.5, 0.75, 1)
QUALITIES = (50, 60, 70, 75, 80, 85, 90, 92, 95, 97, 100)

Image = NDArray[np.uint8]
Encode = Callable[[pyvips.Image, int], bytes]
Pairs = Sequence[tuple[Image, Image]]
ENCODERS: Mapping[str, Encode] = {
    "JPEG 4:2:0": lambda image, quality: image.jpegsave_buffer(Q=quality, subsample_mode="on"),
    "JPEG 4:4:4": lambda image, quality: image.jpegsave_buffer(Q=quality, subsample_mode="off"),
    "WebP": lambda image, quality: image.webpsave_buffer(Q=quality),
    "AVIF": lambda image, quality: image.heifsave_buffer(Q=quality, compression="av1"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--photo", type=Path, help="a file to measure in place of the package's photo weights")
    parser.add_argument("--encoder", nargs="+", choices=ENCODERS, default=list(ENCODERS))
    parser.add_argument("--quality", nargs="+", type=int, default=QUALITIES)
    parser.add_argument("--clean", nargs="+", type=float, default=CLEAN, help="besides 0 and 1, which are always there")
    options = parser.parse_args()
    pairs = [pair(path, options.scale) for path in found(options.images)]
    cleans = sorted({0, 1, *options.clean})
    upscalers = {clean: Upscaler(weights=between(options.scale, options.photo, clean)) for clean in cleans}
    print(f"{len(pairs)} images at ×{options.scale}, PSNR-Y")
    for name in options.encoder:
        encode = ENCODERS[name]
        if not works(encode):
            print(f"\n{name}: not measured, for want of its encoder")
            continue
        print(f"\n| {name} | read as | bicubic | {' | '.join(map(column, cleans))} |")
        print("|---" * (3 + len(cleans)) + "|")
        better: list[tuple[int, str]] = []
        for quality in sorted(options.quality):
            show(f"{name} {quality}", 0, 1)

            def compressed(image: pyvips.Image, quality: int = quality, encode: Encode = encode) -> bytes:
                return encode(image, quality)

            read, bicubic, ours = measure(pairs, upscalers, compressed)
            print(f"| {quality} | {read} | {bicubic:.2f} | {' | '.join(f'{ours[clean]:.2f}' for clean in cleans)} |")
            better = [*better, (quality, read)] if ours[0] >= ours[1] else []
        start = "at none of these" if not better else f"from {better[0][0]} on, read as {better[0][1]}"
        print(f"\nbgai is better than photo {start}")


def found(given: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in given:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        files += [file for file in inside if file.suffix.lower() in INPUT_SUFFIXES]
    if not files:
        raise ImageError(f"{given[0]}: no images")
    return files


def pair(path: Path, scale: int) -> tuple[Image, Image]:
    """HR, cut to a multiple of the scale, and LR."""
    hr = read_rgb8(path)
    height, width = (side - side % scale for side in hr.shape[:2])
    return hr[:height, :width], imresize(hr[:height, :width], 1 / scale)


def between(scale: int, photo: Path | None, clean: float) -> Weights:
    if photo is None:
        return find_weights(None, scale, clean)
    return replace(find_weights(None, scale), other=photo, clean=clean)


def works(encode: Encode) -> bool:
    try:
        encode(as_image(np.zeros((16, 16, 3), np.uint8)), 90)
    except pyvips.Error:
        return False
    return True


def column(clean: float) -> str:
    names = {0.0: "bgai", 1.0: "photo"}
    return names.get(clean, f"clean {clean}")


def measure(
    pairs: Pairs, upscalers: Mapping[float, Upscaler], encode: Callable[[pyvips.Image], bytes]
) -> tuple[str, float, dict[float, float]]:
    """What the files are read as on average, and the mean PSNR-Y of bicubic and of each upscaler."""
    read, bicubic = [], []
    ours: dict[float, list[float]] = {clean: [] for clean in upscalers}
    for hr, lr in pairs:
        data = encode(as_image(lr))
        read.append(read_compression(io.BytesIO(data)))
        damaged, scale = decode_rgb8(data, "compressed"), hr.shape[0] // lr.shape[0]
        bicubic.append(psnr(imresize(damaged, scale), hr, scale))
        for clean, upscaler in upscalers.items():
            ours[clean].append(psnr(upscaler.upscale(damaged), hr, scale))
    return average(read), statistics.mean(bicubic), {clean: statistics.mean(scores) for clean, scores in ours.items()}


def average(read: Sequence[Compression]) -> str:
    if bits := [picture.bits for picture in read if picture.bits is not None]:
        return f"{statistics.mean(bits):.2f} bits a pixel"
    return f"{statistics.mean(picture.quality or 0 for picture in read):.0f}"


def as_image(pixels: Image) -> pyvips.Image:
    height, width, channels = pixels.shape
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(pixels).data, width, height, channels, "uchar")
    return image.copy(interpretation="srgb")


if __name__ == "__main__":
    try:
        main()
    except BgaiError as error:
        sys.exit(f"crossing.py: {error}")
