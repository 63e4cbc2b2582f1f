"""The distance between two pictures in the features of a VGG network, and between their styles.

Sources: J. Johnson et al., Perceptual Losses for Real-Time Style Transfer and Super-Resolution (2016); the formulas are
those of BasicSR's `PerceptualLoss`.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bgai.errors import WeightsError
from bgai.network.vgg import VggFeatures
from bgai.options.training import PerceptualLoss

DEFAULT_WEIGHTS = Path("experiments/pretrained_models/vgg19-dcbb9e9d.pth")
"""Where BasicSR has the file too."""


class PerceptualDistance(nn.Module):
    """Compares pictures in a VGG network's features, as the options say."""

    def __init__(self, options: PerceptualLoss) -> None:
        super().__init__()
        self.options = options
        self.vgg = VggFeatures(options.vgg_type, options.layer_weights, options.use_input_norm)
        _load(self.vgg, options.weights or DEFAULT_WEIGHTS)
        self.requires_grad_(False)

    def forward(self, sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
        """The distance of features and that of their Gram matrices, without their weights.

        Args:
            sr: B x 3 x H x W in [0, 1].
            hr: The true pictures, of the same shape.
        """
        if self.options.range_norm:
            sr, hr = (sr + 1) / 2, (hr + 1) / 2
        with torch.no_grad():
            true = self.vgg(hr)
        features = style = sr.new_zeros(())
        for name, own in self.vgg(sr).items():
            weight = self.options.layer_weights[name]
            features = features + weight * self._distance(own.float(), true[name].float())
            if self.options.style_weight:
                style = style + weight * self._distance(_gram(own.float()), _gram(true[name].float()))
        return features, style

    def _distance(self, own: Tensor, true: Tensor) -> Tensor:
        match self.options.criterion:
            case "l1":
                return F.l1_loss(own, true)
            case "l2":
                return F.mse_loss(own, true)
            case "fro":
                norm: Tensor = torch.linalg.vector_norm(own - true)
                return norm


def _gram(features: Tensor) -> Tensor:
    """Products of all pairs of channels, B x C x C, of features, B x C x H x W; means over channels and pixels."""
    flat = features.flatten(2)
    return flat @ flat.mT / features[0].numel()


def _load(vgg: VggFeatures, path: Path) -> None:
    """Take the weights of the layers that are there from a file of torchvision's.

    Raises:
        WeightsError: The file is missing, damaged, or of another network.
    """
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such file; perceptual_opt needs the weights of a VGG network: copy"
            f" torchvision's {DEFAULT_WEIGHTS.name} (548 MiB) to {DEFAULT_WEIGHTS}, or name another file as"
            " train.perceptual_opt.weights"
        )
    # torchvision's names end with the first digits of the SHA-256.
    if (named := re.fullmatch(r".*-([0-9a-f]{8})\.pth", path.name)) and not _sha256(path).startswith(named[1]):
        raise WeightsError(f"{path}: its SHA-256 does not begin with {named[1]}; fetch the file again")
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        vgg.load_state_dict({name: tensors[name] for name in vgg.state_dict()})
    except Exception as error:  # a damaged pickle makes its reader raise anything
        raise WeightsError(
            f"{path}: damaged, or not torchvision's weights of {vgg.kind}; expected tensors such as features.0.weight"
        ) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
