"""The first layers of VGG networks, whose features say how like two pictures look.

Source: K. Simonyan and A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition (2015).
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

_WIDTHS = (64, 128, 256, 512, 512)
_CONVOLUTIONS = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


def vgg_layers(kind: str) -> list[str]:
    """Names of a network's layers in their order, such as `conv1_1`, `relu1_1`, `conv1_2`, `relu1_2`, `pool1`, …"""
    names = []
    for stage, count in enumerate(_CONVOLUTIONS[kind], 1):
        names += [f"{layer}{stage}_{number}" for number in range(1, count + 1) for layer in ("conv", "relu")]
        names.append(f"pool{stage}")
    return names


class VggFeatures(nn.Module):
    """What some layers of a VGG network make of pictures.

    Args:
        kind: `vgg11`, `vgg13`, `vgg16` or `vgg19`.
        layers: Names of the layers, from `vgg_layers`; those after the last of them are left out.
        normalise: Take the mean colour of ImageNet away and divide by its deviation, as the network was trained.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, kind: str, layers: Collection[str], normalise: bool = True) -> None:
        super().__init__()
        self.kind = kind
        names = vgg_layers(kind)
        self._names = names[: max(map(names.index, layers)) + 1]
        self._layers = layers
        self._normalise = normalise
        self.features = nn.Sequential()  # numbered as in torchvision's files
        channels = 3
        for name in self._names:
            if name.startswith("conv"):
                width = _WIDTHS[int(name[4]) - 1]
                self.features.append(nn.Conv2d(channels, width, 3, padding=1))
                channels = width
            else:
                self.features.append(nn.ReLU() if name.startswith("relu") else nn.MaxPool2d(2))
        for name, values in (("mean", (0.485, 0.456, 0.406)), ("deviation", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Features by the names of the layers, B x C x h x w, of pictures, B x 3 x H x W in [0, 1]."""
        if self._normalise:
            x = (x - self.mean) / self.deviation
        features = {}
        for name, layer in zip(self._names, self.features, strict=True):
            x = layer(x)
            if name in self._layers:
                features[name] = x
        return features
