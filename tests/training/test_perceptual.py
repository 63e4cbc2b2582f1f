"""The distance of pictures in a VGG network's features."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bgai.errors import WeightsError
from bgai.network.vgg import VggFeatures
from bgai.options.training import PerceptualLoss
from bgai.training.perceptual import PerceptualDistance

LAYERS = {"conv1_2": 0.5, "relu2_1": 2.0}
SR, HR = (torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file such as torchvision's, of random weights and the first layers alone."""
    torch.manual_seed(0)
    tensors = VggFeatures("vgg19", LAYERS).state_dict()
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save({**tensors, "classifier.0.weight": torch.zeros(2, 2)}, path)
    return path


def distance(weights: Path, **settings: Any) -> PerceptualDistance:
    values = {"type": "PerceptualLoss", "layer_weights": LAYERS, "weights": weights, **settings}
    return PerceptualDistance(PerceptualLoss.model_validate(values))


def features(weights: Path, picture: Tensor) -> dict[str, Tensor]:
    network = VggFeatures("vgg19", LAYERS)
    tensors = torch.load(weights, weights_only=True)
    network.load_state_dict({name: tensors[name] for name in network.state_dict()})
    found: dict[str, Tensor] = network(picture)
    return found


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ("l1", lambda a, b: (a - b).abs().mean()),
        ("l2", lambda a, b: ((a - b) ** 2).mean()),
        ("fro", lambda a, b: torch.sqrt(((a - b) ** 2).sum())),
    ],
)
def test_formulas_are_basicsrs(weights: Path, criterion: str, expected: Any) -> None:
    perceptual, style = distance(weights, criterion=criterion, style_weight=1)(SR, HR)
    ours, true = features(weights, SR), features(weights, HR)

    def gram(x: Tensor) -> Tensor:
        _, C, H, W = x.shape
        return torch.einsum("bchw,bdhw->bcd", x, x) / (C * H * W)

    torch.testing.assert_close(perceptual, sum(LAYERS[name] * expected(ours[name], true[name]) for name in LAYERS))
    grams = sum(LAYERS[name] * expected(gram(ours[name]), gram(true[name])) for name in LAYERS)
    torch.testing.assert_close(style, grams)


def test_the_range_may_be_another(weights: Path) -> None:
    shifted = distance(weights, range_norm=True)(SR * 2 - 1, HR * 2 - 1)
    torch.testing.assert_close(shifted[0], distance(weights)(SR, HR)[0], rtol=1e-4, atol=1e-6)


def test_gradients_reach_the_picture_and_nothing_else(weights: Path) -> None:
    compare, sr = distance(weights), SR.clone().requires_grad_()
    perceptual, style = compare(sr, HR)
    perceptual.backward()
    assert sr.grad is not None
    assert sr.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in compare.parameters())
    assert style == 0
    assert compare(HR, HR)[0] == 0


def test_weights_that_are_missing_or_others_are_one_line(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pth: no such file; .* copy torchvision.s vgg19-dcbb9e9d\.pth"):
        distance(tmp_path / "none.pth")
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="damaged, or not torchvision's weights of vgg19"):
        distance(tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(WeightsError, match="damaged"):
        distance(tmp_path / "text.pth")


def test_the_digits_in_a_files_name_are_checked(weights: Path, tmp_path: Path) -> None:
    content = weights.read_bytes()
    digits = hashlib.sha256(content).hexdigest()[:8]
    (right := tmp_path / f"vgg19-{digits}.pth").write_bytes(content)
    distance(right)
    (wrong := tmp_path / "vgg19-dcbb9e9d.pth").write_bytes(content)
    with pytest.raises(WeightsError, match="its SHA-256 does not begin with dcbb9e9d"):
        distance(wrong)
