"""A depthwise convolution whose gradients are fast on the CPU.

oneDNN takes many times longer over the weight gradient of a wide kernel (1 x 15) than of a tall one (15 x 1), and has
no fast channels-last gradient in bfloat16. Here a wide kernel's gradient is taken of the transposed picture, and
bfloat16 is computed in float32.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class DepthwiseConv2d(nn.Conv2d):
    """One odd-sided filter per channel, zero padding that keeps B, C, H, W."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__(channels, channels, (height, width), padding=(height // 2, width // 2), groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.device.type == "cpu":
            result: Tensor = _Depthwise.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return result
        return super().forward(x)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.dtype = x.dtype
        with torch.autocast("cpu", enabled=False):
            x = _channels_last(x)
            ctx.save_for_backward(x, weight)
            C, _, height, width = weight.shape
            return F.conv2d(x, weight, bias, padding=(height // 2, width // 2), groups=C).to(ctx.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        gradient = _channels_last(gradient)
        if weight.shape[2] >= weight.shape[3]:
            of_x, of_weight, of_bias = _gradients(gradient, x, weight, (True, True, True))
        else:
            of_x, _, _ = _gradients(gradient, x, weight, (True, False, False))
            turned = _channels_last(gradient.mT), _channels_last(x.mT), weight.mT
            _, of_weight, of_bias = _gradients(*turned, (False, True, True))
            of_weight = of_weight.mT
        return of_x.to(ctx.dtype), of_weight, of_bias


def _channels_last(x: Tensor) -> Tensor:
    x = x.float() if x.dtype == torch.bfloat16 else x
    return x.contiguous(memory_format=torch.channels_last)


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, weight and bias; those not wanted are None."""
    C, _, height, width = weight.shape
    padding = [height // 2, width // 2]
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, x, weight, [C], [1, 1], padding, [1, 1], False, [0, 0], C, wanted
    )
    return gradients
