"""Scores of a network over sets of images: PSNR, SSIM and the metrics of pyiqa."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import nn

from bgai.datasets.pairs import PairedImages
from bgai.errors import MissingExtraError, UsageError
from bgai.evaluation.device_memory import free_bytes
from bgai.evaluation.metrics import psnr, ssim
from bgai.evaluation.result_folder import means
from bgai.options.sections import MetricOptions, PyiqaMetric
from bgai.types import RgbImage
from bgai.upscaling.tiling import plan_tiles
from bgai.weights.sources import DEFAULT_HALO

METRICS = {"calculate_psnr": psnr, "calculate_ssim": ssim}
Metrics = Mapping[str, MetricOptions | PyiqaMetric]


_BYTES_PER_PIXEL = 15_000  # of the low resolution, that a network takes without gradients, measured
_MEMORY_SHARE = 0.5  # of what is free


def enlarge(network: nn.Module, lr: RgbImage, pixels: int | None = None) -> RgbImage:
    """Run a network on an image and round its output to bytes.

    Args:
        network: Its parameters are on the device to compute on.
        lr: H x W x 3.
        pixels: Largest area that is computed at once; larger images are cut into tiles, of which no sample differs by
            more than one level from the whole image's. None takes what half of the free memory holds.

    Returns:
        sH x sW x 3.
    """
    height, width = lr.shape[:2]
    if pixels is None:
        pixels = int(_MEMORY_SHARE * free_bytes(next(network.parameters()).device)) // _BYTES_PER_PIXEL
    if height * width <= pixels:
        return _enlarge_whole(network, lr)
    sr: RgbImage | None = None
    rows, columns = plan_tiles(height, width, pixels, DEFAULT_HALO)
    for row in rows:
        for column in columns:
            tile = _enlarge_whole(network, lr[row.start : row.stop, column.start : column.stop])
            scale = len(tile) // row.length
            if sr is None:
                sr = np.empty((height * scale, width * scale, 3), np.uint8)
            kept = [slice(span.keep_start * scale, span.keep_stop * scale) for span in (row, column)]
            cut = [
                slice((span.keep_start - span.start) * scale, (span.keep_stop - span.start) * scale)
                for span in (row, column)
            ]
            sr[kept[0], kept[1]] = tile[cut[0], cut[1]]
    assert sr is not None
    return sr


@torch.inference_mode()
def _enlarge_whole(network: nn.Module, lr: RgbImage) -> RgbImage:
    device = next(network.parameters()).device
    batch = torch.from_numpy(np.ascontiguousarray(lr)).to(device).permute(2, 0, 1).unsqueeze(0).float() / 255
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
    except ImportError as error:
        raise MissingExtraError("metrics", f"the metric {options.metric}") from error
    try:
        metric = pyiqa.create_metric(options.metric, device="cpu")
    except (KeyError, AssertionError, ValueError) as error:
        raise UsageError(
            f"metric {options.metric!r}: not known to pyiqa; pyiqa.list_models() lists its names"
        ) from error

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
    """Messages on images that are too small for a metric, from their headers; unequal sizes are an ImageError."""
    messages = []
    for name, (height, width) in zip(pairs.names, pairs.sizes(), strict=True):
        for metric in metrics.values():
            least = 11 if metric.type == "calculate_ssim" else 1
            if min(height, width) * pairs.scale - 2 * metric.crop_border < least:
                messages.append(
                    f"{name} of {width * pairs.scale} x {height * pairs.scale} pixels is too small for {metric.type}"
                    f" with crop_border {metric.crop_border}: expected {least} within it"
                )
    return messages


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
    return means(values) if metrics else {}
