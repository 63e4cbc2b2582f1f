"""Window attention whose gradients are fast on the CPU.

Maps are what takes time: a few windows at a time go through all operators, so that their maps stay in the cache. What
goes in and comes out is channels-last, as in the convolutions: sums of two layouts are formed number by number.

Dimensions: those of `model.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Window = tuple[int, int]

_PORTION_BYTES = 2**20  # of each map; several of them are read and written at a time


def integrate(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    previous: Tensor | None,
    temperature: Tensor,
    window: Window,
    shift: Window,
) -> tuple[Tensor, Tensor]:
    """Attend within windows, and integrate the previous map.

    Args:
        query: B, d, H, W; already scaled.
        key: B, d, H, W.
        value: B, d, H, W.
        previous: Map of the group before, n, N, N; None in the first group.
        temperature: Of the previous map, 1, 1, 1.
        window: Height and width.
        shift: By how many pixels the windows lie lower and further right; they wrap around the edges.

    Returns:
        The values that were attended to, B, d, H, W, and the map, n, N, N.
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
        ctx.dtype = temperature.dtype
        ctx.window, ctx.shift, ctx.size = window, shift, query.shape
        query, key, value = (_to_windows(x, window, shift) for x in (query, key, value))
        ctx.temperature = temperature.item()
        softmax = query.new_empty(*query.shape[:2], query.shape[1])
        attention = softmax if previous is None else torch.empty_like(softmax)
        out = torch.empty_like(value)
        for some in _portions(softmax):
            torch.softmax(torch.bmm(query[some], key[some].mT), -1, out=softmax[some])
            if previous is not None:
                torch.add(softmax[some], previous[some], alpha=ctx.temperature, out=attention[some])
            _weighted(attention[some], value[some], out[some])
        ctx.save_for_backward(query, key, value, softmax, attention, previous)
        return _from_windows(out, window, shift, ctx.size), attention

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_out: Tensor | None, of_attention: Tensor | None) -> tuple[Tensor | None, ...]:
        query, key, value, softmax, attention, previous = ctx.saved_tensors
        of_out = torch.zeros_like(value) if of_out is None else _to_windows(of_out, ctx.window, ctx.shift)
        of_query, of_key, of_value = (torch.empty_like(x) for x in (query, key, value))
        of_previous = torch.empty_like(previous) if ctx.needs_input_grad[3] else None
        of_temperature = torch.zeros(1, 1, 1, dtype=ctx.dtype)
        for some in _portions(softmax):
            _weighted(attention[some].mT, of_out[some], of_value[some])
            of_map = torch.bmm(of_out[some], value[some].mT)
            if of_attention is not None:
                of_map += of_attention[some]
            if previous is not None:
                of_temperature += (of_map * previous[some]).sum()
            if of_previous is not None:
                torch.mul(of_map, ctx.temperature, out=of_previous[some])
            of_logits = torch._softmax_backward_data(of_map, softmax[some], -1, softmax.dtype)
            _weighted(of_logits, key[some], of_query[some])
            _weighted(of_logits.mT, query[some], of_key[some])
        of_inputs = (_from_windows(x, ctx.window, ctx.shift, ctx.size) for x in (of_query, of_key, of_value))
        return *of_inputs, of_previous, None if previous is None else of_temperature, None, None


def _weighted(maps: Tensor, x: Tensor, out: Tensor) -> None:
    """Write the sums of x, n, N, d, that the rows of maps, n, N, N, weigh."""
    if x.dtype == torch.bfloat16:
        torch.bmm(maps, x, out=out)
    else:  # MKL takes several times longer over products that are only d columns wide
        out.copy_(torch.bmm(x.mT, maps.mT).mT)


def _portions(maps: Tensor) -> Iterator[slice]:
    """Slices of so few windows that their maps stay in the cache."""
    count = max(_PORTION_BYTES // (maps[0].numel() * maps.element_size()), 1)
    return (slice(start, start + count) for start in range(0, len(maps), count))


def _to_windows(x: Tensor, window: Window, shift: Window) -> Tensor:
    """B, d, H, W to n, N, d."""
    B, d, H, W = x.shape
    h, w = window
    x = x.permute(0, 2, 3, 1)
    if shift != (0, 0):
        x = x.roll((-shift[0], -shift[1]), dims=(1, 2))
    return x.reshape(B, H // h, h, W // w, w, d).transpose(2, 3).reshape(-1, h * w, d)


def _from_windows(x: Tensor, window: Window, shift: Window, size: tuple[int, int, int, int]) -> Tensor:
    """n, N, d to B, d, H, W in channels-last."""
    B, d, H, W = size
    h, w = window
    x = x.view(B, H // h, W // w, h, w, d).transpose(2, 3).reshape(B, H, W, d)
    if shift != (0, 0):
        x = x.roll(shift, dims=(1, 2))
    return x.permute(0, 3, 1, 2)
