"""Pointwise convolutions and joined channels whose gradients are fast on the CPU.

PyTorch leaves to oneDNN, in one thread and float32, only batches of 16 and more; oneDNN takes longer over the gradients
in bfloat16 than over the same matrix products; and sums of mixed memory layouts are formed number by number.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def trains_on_cpu(module: nn.Module, x: Tensor) -> bool:
    """Whether a module takes what is made for training on a CPU. A compiler makes its own."""
    return module.training and x.device.type == "cpu" and not torch.compiler.is_compiling()


class PointwiseConv2d(nn.Conv2d):
    """A convolution with a kernel of 1 x 1."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        if trains_on_cpu(self, x):
            result: Tensor = _Pointwise.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return result
        return super().forward(x)


class _Pointwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.dtypes = x.dtype, weight.dtype
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        rows, weight = _rows(x.to(dtype)), weight.to(dtype)
        ctx.save_for_backward(rows, weight)
        return _pictures(F.conv2d(rows, weight, bias.to(dtype)), x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_rows, of_weight, of_bias = _gradients(_rows(gradient), rows, weight)
        dtype, weight_dtype = ctx.dtypes
        return _pictures(of_rows, gradient).to(dtype), of_weight.to(weight_dtype), of_bias.to(weight_dtype)


def _gradients(gradient: Tensor, rows: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the rows, the weight and the bias."""
    out_channels, in_channels = weight.shape[:2]
    if rows.dtype == torch.bfloat16:
        outs, ins = (x.permute(0, 2, 3, 1).flatten(0, 2) for x in (gradient, rows))
        of_rows = torch.mm(outs, weight.view(out_channels, in_channels)).view_as(rows.permute(0, 2, 3, 1))
        return of_rows.permute(0, 3, 1, 2), torch.mm(outs.T, ins).view_as(weight), outs.sum(0)
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, rows, weight, [out_channels], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, (True, True, True)
    )
    return gradients


def _rows(x: Tensor) -> Tensor:
    """Each row as a picture of its own: B, d, H, W to B*H, d, 1, W."""
    return x.permute(0, 2, 3, 1).flatten(0, 1).unsqueeze(1).permute(0, 3, 1, 2)


def _pictures(rows: Tensor, like: Tensor) -> Tensor:
    """B*H, d, 1, W to B, d, H, W."""
    B, _, H, W = like.shape
    return rows.permute(0, 2, 3, 1).view(B, H, W, -1).permute(0, 3, 1, 2)


def split(module: nn.Module, x: Tensor, parts: int) -> tuple[Tensor, ...]:
    """Slices of the channels of x, B, d, H, W; while the module trains on a CPU, each with memory of its own."""
    slices = x.chunk(parts, dim=1)
    if trains_on_cpu(module, x):
        return tuple(part.contiguous(memory_format=torch.channels_last) for part in slices)
    return slices


def join(module: nn.Module, *parts: Tensor) -> Tensor:
    """Tensors, each B, d, H, W, as one; while the module trains on a CPU, their gradients are channels-last."""
    if trains_on_cpu(module, parts[0]):
        result: Tensor = _Join.apply(*parts)  # type: ignore[no-untyped-call]
        return result
    return torch.cat(parts, dim=1)


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        ctx.widths = [part.shape[1] for part in parts]
        return torch.cat(parts, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        parts = torch.split_with_sizes(gradient, ctx.widths, dim=1)
        return tuple(part.contiguous(memory_format=torch.channels_last) for part in parts)
