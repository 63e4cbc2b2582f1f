"""Shapes of a network's tensors."""

from __future__ import annotations

import pytest

from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI
from bgai.weights.shapes import parameter_count, tensor_shapes


@pytest.mark.parametrize(
    "config", [NetworkConfig(4), NetworkConfig(2, channels=16, groups=2, blocks=3, mlp_ratio=4, local_channels=6)]
)
def test_shapes_are_those_of_the_network(config: NetworkConfig) -> None:
    tensors = BGAI(config).state_dict()
    assert tensor_shapes(config) == {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert parameter_count(config) == sum(tensor.numel() for tensor in tensors.values())
