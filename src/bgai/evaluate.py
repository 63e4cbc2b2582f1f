"""How close a network comes to the originals: PSNR and SSIM over sets of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from bgai.data import Image, PairedImages
from bgai.errors import ImageError
from bgai.metrics import psnr, ssim
from bgai.options import MetricOptions

METRICS = {"calculate_psnr": psnr, "calculate_ssim": ssim}


@torch.inference_mode()
def enlarge(network: nn.Module, lr: Image) -> Image:
    """Run a network on a whole image, H x W x 3, and round its output to bytes, sH x sW x 3."""
    device = next(network.parameters()).device
    batch = torch.from_numpy(lr).to(device).permute(2, 0, 1).unsqueeze(0).float() / 255
    sr = network(batch).float().clamp(0, 1).mul(255).round().byte()
    pixels: Image = sr[0].permute(1, 2, 0).cpu().numpy()
    return pixels


def measure(sr: Image, hr: Image, metrics: Mapping[str, MetricOptions]) -> dict[str, float]:
    """The value of each metric for one image."""
    return {
        name: METRICS[metric.type](sr, hr, metric.crop_border, metric.test_y_channel)
        for name, metric in metrics.items()
    }


def check_metrics(pairs: PairedImages, metrics: Mapping[str, MetricOptions]) -> None:
    """Refuse, from headers alone, a set with images that are too small for a metric or do not match."""
    for name, (height, width) in zip(pairs.names, pairs.sizes(), strict=True):
        for metric in metrics.values():
            least = 11 if metric.type == "calculate_ssim" else 1
            if min(height, width) * pairs.scale - 2 * metric.crop_border < least:
                raise ImageError(
                    f"{name} of {width * pairs.scale} x {height * pairs.scale} pixels is too small for {metric.type}"
                    f" with crop_border {metric.crop_border}: expected {least} within it"
                )


def validate(
    network: nn.Module,
    pairs: PairedImages,
    metrics: Mapping[str, MetricOptions],
    show: Callable[[str, Image, Image, Image], None] | None = None,
) -> dict[str, float]:
    """Means of the metrics over a set; `show` gets each name with its LR, SR and HR image."""
    values = []
    for index, name in enumerate(pairs.names):
        lr, hr = pairs.read(index)
        sr = enlarge(network, lr)
        values.append(measure(sr, hr, metrics))
        if show:
            show(name, lr, sr, hr)
    return {name: float(np.mean([value[name] for value in values])) for name in metrics}
