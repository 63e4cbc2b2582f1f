"""A depthwise convolution whose gradients are fast on the CPU.

oneDNN takes many times longer over the weight gradient of a kernel that is wider than 3 columns, so here the gradient
of such a kernel is formed 3 columns at a time; it gets the gradient of the input faster as a convolution with the
turned kernel; and it has no fast channels-last convolutions of all shapes in bfloat16, which is computed in float32.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_STRIP = 3  # columns


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
    width = weight.shape[3]
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
    """The gradient of the weight of a convolution that pads the rows of x by so many zeros at both ends."""
    C, _, height, _ = weight.shape
    paddings, wanted = [height // 2, padding], (False, True, False)
    of_strip: Tensor = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [1, 1], paddings, [1, 1], False, [0, 0], C, wanted
    )[1]
    return of_strip
