"""VGG networks: the layers and their order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bgai.network.vgg import VggFeatures, vgg_layers


@pytest.mark.parametrize(("kind", "count"), [("vgg11", 21), ("vgg13", 25), ("vgg16", 31), ("vgg19", 37)])
def test_layers_are_those_of_the_paper(kind: str, count: int) -> None:
    """Counts of torchvision's `features`, and the numbers of convolutions in the networks' names."""
    names = vgg_layers(kind)
    assert len(names) == count
    assert sum(name.startswith("conv") for name in names) == int(kind[3:]) - 3  # and three layers for classes
    assert names[-1] == "pool5"


def test_features_are_taken_where_the_layers_say() -> None:
    network = VggFeatures("vgg19", ["conv1_2", "relu2_1"])
    assert len(network.features) == 7  # nothing after relu2_1
    picture = torch.rand(2, 3, 12, 10)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (picture - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    first = nn.Sequential(network.features[0], nn.ReLU(), network.features[2])(x)
    second = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), network.features[5], nn.ReLU())(first)
    features = network(picture)
    assert list(features) == ["conv1_2", "relu2_1"]
    torch.testing.assert_close(features["conv1_2"], first)
    torch.testing.assert_close(features["relu2_1"], second)
    assert second.shape == (2, 128, 6, 5)


def test_colours_may_be_left_as_they_are() -> None:
    torch.manual_seed(0)
    network = VggFeatures("vgg11", ["conv1_1"], normalise=False)
    picture = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(network(picture)["conv1_1"], network.features[0](picture))
