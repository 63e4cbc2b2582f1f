"""Counts of what the network computes."""

from __future__ import annotations

import pytest

from bgai.network.complexity import count
from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI


@pytest.mark.parametrize(
    ("scale", "lr_size", "parameters", "multiply_adds"),
    [(2, (360, 640), 297_572, 93.5), (3, (240, 427), 304_607, 42.1), (4, (180, 320), 314_456, 24.9)],
)
def test_counts_are_those_of_the_paper(
    scale: int, lr_size: tuple[int, int], parameters: int, multiply_adds: float
) -> None:
    found = count(BGAI(NetworkConfig(scale)))
    assert (found.lr_size, found.parameters) == (lr_size, parameters)
    assert found.multiply_adds / 1e9 == pytest.approx(multiply_adds, abs=0.05)


def test_activations_are_what_convolutions_give() -> None:
    """By hand, for a network of one group of one block: 720 x 1280 is a multiple of 16, so nothing is padded."""
    config = NetworkConfig(2, channels=16, broadcast_channels=4, local_channels=2, groups=1, blocks=1)
    mixing = 16 + 4 + 4 + 2 * 4 + 16
    attention = 3 * 4 + 3 * (3 * 2)
    gates = 3 * (4 + 2 + 2 + 2)
    block = 4 + 6 + attention + gates + 16 + 32 + 5 * 8 + 16
    group = 8 + mixing + block + mixing + 16
    unpadded = 16 + group - (4 + 6 + attention + gates + 16) + 16 + mixing + 12
    padded = 4 + 6 + attention + gates + 16
    found = count(BGAI(config))
    assert found.activations == 360 * 640 * unpadded + 368 * 640 * padded
