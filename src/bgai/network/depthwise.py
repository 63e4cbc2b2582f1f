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

_STRIP = 3


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
            return _convolve(x, weight, bias).to(ctx.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        gradient = _channels_last(gradient)
        of_x = _convolve(gradient, weight.flip(2, 3), None)
        of_bias = gradient.permute(0, 2, 3, 1).flatten(0, 2).sum(0)
        return of_x.to(ctx.dtype), _of_weight(gradient, x, weight), of_bias


def _channels_last(x: Tensor) -> Tensor:
    x = x.float() if x.dtype == torch.bfloat16 else x
    return x.contiguous(memory_format=torch.channels_last)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    C, _, height, width = weight.shape
    return F.conv2d(x, weight, bias, padding=(height // 2, width // 2), groups=C)


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the weight, in strips of at most 3 columns."""
    C, _, height, width = weight.shape
    if width <= _STRIP:
        return _of_strip(gradient, x, weight, width // 2)
    of_weight = torch.empty_like(weight)
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, width // 2, width // 2)).permute(0, 3, 1, 2)
    for start in (*range(0, width - _STRIP, _STRIP), width - _STRIP):
        columns = slice(start, start + _STRIP)
        shifted = padded[..., start : start + x.shape[-1] + _STRIP - 1]
        of_weight[..., columns] = _of_strip(gradient, shifted, weight[..., columns], 0)
    return of_weight


def _of_strip(gradient: Tensor, x: Tensor, weight: Tensor, padding: int) -> Tensor:
    C, _, height, _ = weight.shape
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient,
        x,
        weight,
        None,
        [1, 1],
        [height // 2, padding],
        [1, 1],
        False,
        [0, 0],
        C,
        (False, True, False),
    )
    return gradients[1]
