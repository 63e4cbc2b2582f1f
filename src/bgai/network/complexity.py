"""How large a network is and how much it computes. Needs PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bgai.network.model import BGAI

OUTPUT = (720, 1280)
"""Height and width of the output that papers count multiply-adds for."""


@dataclass(frozen=True, slots=True)
class Complexity:
    """Size and cost of a network for an output of 1280 x 720; its input is smaller by the scale, rounded up."""

    lr_size: tuple[int, int]
    parameters: int
    multiply_adds: int
    """Of convolutions and matrix products, as PyTorch's counter of operations has them."""
    activations: int
    """Numbers that come out of convolutions. Source: the NTIRE challenge on efficient super-resolution."""


def count(network: BGAI) -> Complexity:
    """Count, without computing anything."""
    scale = network.config.scale
    height, width = lr_size = (-(-OUTPUT[0] // scale), -(-OUTPUT[1] // scale))
    with torch.device("meta"):
        abstract = BGAI(network.config).eval()
        image = torch.empty(1, 3, height, width)
    activations = 0

    def add(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal activations
        activations += output.numel()

    for module in abstract.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(add)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        abstract(image)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Complexity(lr_size, parameters, counter.get_total_flops() // 2, activations)
