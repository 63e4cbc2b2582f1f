"""PSNR and SSIM on the luma of test images, the border of the scale cut, as papers report them.

python benchmarks/scores.py WEIGHTS HR_FOLDER [LR_FOLDER]

Without a folder of low-resolution images they are made by MATLAB's bicubic.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bgai.checkpoint import load_network
from bgai.data import PairedImages
from bgai.errors import BgaiError
from bgai.evaluate import validate
from bgai.options import MetricOptions, PairedDataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("hr", type=Path)
    parser.add_argument("lr", type=Path, nargs="?")
    options = parser.parse_args()
    network = load_network(options.weights)
    scale = network.config.scale
    pairs = PairedImages(PairedDataset(name=options.hr.name, dataroot_gt=options.hr, dataroot_lq=options.lr), scale)
    psnr = MetricOptions(type="calculate_psnr", crop_border=scale, test_y_channel=True)
    ssim = MetricOptions(type="calculate_ssim", crop_border=scale, test_y_channel=True)
    scores = validate(network, pairs, {"psnr": psnr, "ssim": ssim})
    print(f"{options.hr}: {len(pairs)} images at x{scale}: {scores['psnr']:.3f} dB, {scores['ssim']:.4f}")


if __name__ == "__main__":
    try:
        main()
    except BgaiError as error:
        sys.exit(f"scores.py: {error}")
