"""Scores over a set of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import filled_network, texture
from torch import Tensor, nn

from bgai.datasets.pairs import PairedImages
from bgai.evaluation.metrics import psnr, ssim
from bgai.evaluation.scores import enlarge, unmeasurable, validate
from bgai.options.sections import MetricOptions
from bgai.weights.checkpoint import load_network

METRICS = {
    "psnr": MetricOptions(type="calculate_psnr", crop_border=2, test_y_channel=True),
    "rgb": MetricOptions(type="calculate_psnr", crop_border=0),
    "ssim": MetricOptions(type="calculate_ssim", crop_border=2, test_y_channel=True),
}


class Repeat(nn.Module):
    """Enlarges twice by repeating pixels, a little too bright."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3) * self.gain


def test_outputs_are_clamped_and_rounded() -> None:
    lr = np.array([[[0, 101, 255]]], np.uint8)
    np.testing.assert_array_equal(enlarge(Repeat(), lr), np.full((2, 2, 3), (0, 152, 255)))  # 151.5 to even


def test_an_image_that_does_not_fit_is_enlarged_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    lr, network = texture(150, 170), filled_network(2)
    computed: list[int] = []
    network.register_forward_hook(lambda module, inputs, output: computed.append(inputs[0].shape[-1]))
    whole = enlarge(network, lr, 150 * 170)
    in_tiles = enlarge(network, lr, 128 * 128)
    assert computed[0] == 170
    assert len(computed) > 2
    inner = slice(2 * 64, -2 * 64)  # the network's windows wrap around the edges of whatever it is given
    difference = np.abs(whole.astype(int) - in_tiles)[:, inner]
    assert difference[:, 8:-8].max() <= 1
    monkeypatch.setattr("bgai.evaluation.scores.free_bytes", lambda _: 2 * 15_000 * 128 * 128)
    np.testing.assert_array_equal(enlarge(network, lr), in_tiles)


def test_scores_are_means_over_the_images(tmp_path: Path) -> None:
    for index in range(2):
        Image.fromarray(texture(33, 30, seed=index)).save(tmp_path / f"{index}.png")
    pairs = PairedImages(tmp_path, None, 2)
    shown = []
    scores = validate(Repeat(), pairs, METRICS, lambda name, lr, sr, hr: shown.append((name, sr, hr)))
    assert [name for name, _, _ in shown] == ["0", "1"]
    assert shown[0][2].shape == (32, 30, 3)
    assert scores["psnr"] == pytest.approx(np.mean([psnr(sr, hr, 2) for _, sr, hr in shown]))
    assert scores["rgb"] == pytest.approx(np.mean([psnr(sr, hr, 0, on_luma=False) for _, sr, hr in shown]))
    assert scores["ssim"] == pytest.approx(np.mean([ssim(sr, hr, 2) for _, sr, hr in shown]))


def test_sets_that_cannot_be_measured_are_refused(tmp_path: Path) -> None:
    Image.fromarray(texture(14, 40)).save(tmp_path / "flat.png")
    pairs = PairedImages(tmp_path, None, 2)
    assert unmeasurable(pairs, {"psnr": METRICS["psnr"]}) == []
    (problem,) = unmeasurable(pairs, METRICS)
    assert "flat of 40 x 14 pixels is too small for calculate_ssim with crop_border 2" in problem


def test_released_weights_reach_their_figures(shared: Path) -> None:
    folder = shared / "benchmarks/Set5"
    pairs = PairedImages(folder / "HR_mod4", folder / "X4", 4)
    metrics = {
        "psnr": MetricOptions(type="calculate_psnr", crop_border=4, test_y_channel=True),
        "ssim": MetricOptions(type="calculate_ssim", crop_border=4, test_y_channel=True),
    }
    scores = validate(load_network(shared / "weights/official/BGAI_x4.pth"), pairs, metrics)
    assert scores["psnr"] == pytest.approx(32.417, abs=0.005)
    assert scores["ssim"] == pytest.approx(0.8976, abs=0.0001)
