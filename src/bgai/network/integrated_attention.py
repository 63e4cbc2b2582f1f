"""Window attention whose gradients are fast on the CPU.

PyTorch's own gradients of the same lines keep more maps, and add those of mixed memory layouts number by number. Here
all is channels-last, and each map is read as few times as its gradients allow.

Dimensions: those of `model.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Window = tuple[int, int]


def attend(
    query: Tensor, key: Tensor, value: Tensor, previous: Tensor | None, temperature: Tensor, window: Window, shift: Window
) -> tuple[Tensor, Tensor]:
    """Attend within windows, and integrate the previous map.

    Args:
        query: B, d, H, W, already scaled, as key and value are.
        key: Likewise.
        value: Likewise.
        previous: Map of the group before, n, N, N.
        temperature: Of the previous map, 1, 1, 1.
        window: Height and width.
        shift: By how many pixels the windows lie lower and further right; they wrap around the edges.

    Returns:
        What was attended to, B, d, H, W channels-last, and the map, n, N, N.
    """
    out, attention = _Attention.apply(query, key, value, previous, temperature, window, shift)  # type: ignore[no-untyped-call]
    return out, attention


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        previous: Tensor | None,
        temperature: Tensor,
        window: Window,
        shift: Window,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.window, ctx.shift, ctx.size = window, shift, query.shape
        query, key, value = (_to_windows(x, window, shift) for x in (query, key, value))
        softmax = torch.softmax(torch.bmm(query, key.mT), -1)
        attention = softmax
        if previous is not None:
            ctx.temperature = temperature.item()
            attention = torch.add(softmax, previous, alpha=ctx.temperature)
        ctx.save_for_backward(query, key, value, softmax, attention, previous)
        return _from_windows(torch.bmm(attention, value), window, shift, ctx.size), attention

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_out: Tensor | None, of_attention: Tensor | None) -> tuple[Tensor | None, ...]:
        query, key, value, softmax, attention, previous = ctx.saved_tensors
        of_value = of_previous = of_temperature = None
        if of_out is not None:
            of_out = _to_windows(of_out, ctx.window, ctx.shift)
            of_value = torch.bmm(attention.mT, of_out)
            if of_attention is None:
                of_attention = torch.bmm(of_out, value.mT)
            else:
                of_attention = torch.baddbmm(of_attention, of_out, value.mT)
        of_logits = torch._softmax_backward_data(of_attention, softmax, -1, softmax.dtype)
        if previous is not None:
            of_temperature = (of_attention * previous).sum().float().view(1, 1, 1)
            of_previous = of_attention.mul_(ctx.temperature) if ctx.needs_input_grad[3] else None
        results = (torch.bmm(of_logits, key), torch.bmm(of_logits.mT, query), of_value)
        of_inputs = (None if x is None else _from_windows(x, ctx.window, ctx.shift, ctx.size) for x in results)
        return *of_inputs, of_previous, of_temperature, None, None


def _to_windows(x: Tensor, window: Window, shift: Window) -> Tensor:
    """B, d, H, W to n, N, d."""
    B, d, H, W = x.shape
    h, w = window
    x = x.permute(0, 2, 3, 1)
    if shift != (0, 0):
        x = x.roll((-shift[0], -shift[1]), dims=(1, 2))
    return x.reshape(B, H // h, h, W // w, w, d).transpose(2, 3).reshape(-1, h * w, d)


def _from_windows(x: Tensor, window: Window, shift: Window, size: tuple[int, int, int, int]) -> Tensor:
    """N, n, d to B, d, H, W in channels-last."""
    B, d, H, W = size
    h, w = window
    x = x.view(B, H // h, W // w, h, w, d).transpose(2, 3).reshape(B, H, W, d)
    if shift != (0, 0):
        x = x.roll(shift, dims=(1, 2))
    return x.permute(0, 3, 1, 2)
