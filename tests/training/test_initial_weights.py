"""What a training starts from."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate

from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI
from bgai.training.initial_weights import start_from_interpolation, start_from_network


def test_an_untrained_network_interpolates() -> None:
    torch.manual_seed(0)
    network = BGAI(NetworkConfig(4))
    start_from_interpolation(network)
    ramp = torch.linspace(0, 1, 24).repeat(1, 3, 24, 1)
    with torch.inference_mode():
        enlarged = network(ramp)[0, :, 32:64, 32:64]
    expected = interpolate(ramp, scale_factor=4, mode="bilinear")[0, :, 32:64, 32:64]
    torch.testing.assert_close(enlarged, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [2, 3])
@torch.inference_mode()
def test_a_network_of_another_scale_gives_the_same_picture_in_another_size(scale: int) -> None:
    torch.manual_seed(0)
    other = BGAI(NetworkConfig(4, groups=1))
    network = BGAI(NetworkConfig(scale, groups=1))
    start_from_network(network, other)
    lr = torch.rand(1, 3, 20, 24)
    subpixels = other(lr).view(3, 20, 4, 24, 4).permute(1, 3, 0, 2, 4).reshape(-1, 3, 4, 4)
    expected = interpolate(subpixels, (scale, scale), mode="bilinear")  # within each pixel
    expected = expected.view(20, 24, 3, scale, scale).permute(2, 0, 3, 1, 4).reshape(1, 3, 20 * scale, 24 * scale)
    torch.testing.assert_close(network(lr), expected, atol=1e-5, rtol=0)


def test_a_network_of_the_same_scale_is_taken_as_it_is() -> None:
    other, network = (BGAI(NetworkConfig(3, groups=1)) for _ in range(2))
    start_from_network(network, other)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, other.state_dict()[name], atol=1e-7, rtol=0)
