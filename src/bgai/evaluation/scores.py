"""How close a network comes to the originals: PSNR and SSIM over sets of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import nn

from bgai.datasets.pairs import PairedImages
from bgai.errors import EngineError, UsageError
from bgai.evaluation.metrics import psnr, ssim
from bgai.options.sections import MetricOptions, PyiqaMetric
from bgai.types import RgbImage

METRICS = {"calculate_psnr": psnr, "calculate_ssim": ssim}
Metrics = Mapping[str, MetricOptions | PyiqaMetric]


@torch.inference_mode()
def enlarge(network: nn.Module, lr: RgbImage) -> RgbImage:
    """Run a network on a whole image, H x W x 3, and round its output to bytes, sH x sW x 3."""
    device = next(network.parameters()).device
    batch = torch.from_numpy(lr).to(device).permute(2, 0, 1).unsqueeze(0).float() / 255
    sr = network(batch).float().clamp(0, 1).mul(255).round().byte()
    pixels: RgbImage = sr[0].permute(1, 2, 0).cpu().numpy()
    return pixels


class Scorer:
    """Computes the metrics of an option file for one image after the other.

    Raises:
        UsageError: pyiqa has no metric of that name.
        EngineError: A metric needs pyiqa, which is not installed.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._functions = {name: _function(options) for name, options in metrics.items()}

    def __call__(self, sr: RgbImage, hr: RgbImage) -> dict[str, float]:
        """The value of each metric for one image: sr and hr are H x W x 3."""
        return {name: function(sr, hr) for name, function in self._functions.items()}


def _function(options: MetricOptions | PyiqaMetric) -> Callable[[RgbImage, RgbImage], float]:
    if isinstance(options, PyiqaMetric):
        return _pyiqa(options)
    return partial(METRICS[options.type], border=options.crop_border, on_luma=options.test_y_channel)


def _pyiqa(options: PyiqaMetric) -> Callable[[RgbImage, RgbImage], float]:
    try:
        import pyiqa
    except ImportError:
        raise EngineError(
            f"the metric {options.metric} needs pyiqa: install it with  pip install 'bgai[metrics]'"
        ) from None
    try:
        metric = pyiqa.create_metric(options.metric, device="cpu")
    except (KeyError, AssertionError, ValueError):
        raise UsageError(
            f"metric {options.metric!r}: not known to pyiqa; pyiqa.list_models() lists its names"
        ) from None

    @torch.inference_mode()
    def compute(sr: RgbImage, hr: RgbImage) -> float:
        inner = slice(options.crop_border, -options.crop_border or None)
        planes = [
            torch.from_numpy(np.ascontiguousarray(image[inner, inner])).permute(2, 0, 1)[None].float() / 255
            for image in (sr, hr)
        ]
        return float(metric(*planes))

    return compute


def unmeasurable(pairs: PairedImages, metrics: Metrics) -> list[str]:
    """Images that are too small for a metric, found from their headers; sizes that do not match are an ImageError."""
    found = []
    for name, (height, width) in zip(pairs.names, pairs.sizes(), strict=True):
        for metric in metrics.values():
            least = 11 if metric.type == "calculate_ssim" else 1
            if min(height, width) * pairs.scale - 2 * metric.crop_border < least:
                found.append(
                    f"{name} of {width * pairs.scale} x {height * pairs.scale} pixels is too small for {metric.type}"
                    f" with crop_border {metric.crop_border}: expected {least} within it"
                )
    return found


def validate(
    network: nn.Module,
    pairs: PairedImages,
    metrics: Metrics,
    show: Callable[[str, RgbImage, RgbImage, RgbImage], None] | None = None,
) -> dict[str, float]:
    """Means of the metrics over a set; `show` gets each name with its LR, SR and HR image."""
    values = []
    scorer = Scorer(metrics)
    for index, name in enumerate(pairs.names):
        lr, hr = pairs.read(index)
        sr = enlarge(network, lr)
        values.append(scorer(sr, hr))
        if show:
            show(name, lr, sr, hr)
    return {name: float(np.mean([value[name] for value in values])) for name in metrics}
