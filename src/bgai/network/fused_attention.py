"""The network's attentions without stored maps: equal to rounding, through PyTorch's fused kernels.

The map of group g is A_g = S_g + t_g A_{g-1} with S_g a softmax, so A_g v = S_g v + t_g (S_{g-1} v + t_{g-1} (...)): a
short sum of ordinary attentions. Queries and keys of earlier groups (40 or 20 numbers a pixel) are kept instead of
their maps (256 or 64 numbers a pixel); in return, earlier softmaxes are computed again.

Dimensions: those of `model.py`; D is d padded to a multiple of what the kernels read at once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bgai.network.model import BGAI, WindowAttention

_BYTES_READ_AT_ONCE = 16


class Term(NamedTuple):
    """Query and key from which the softmax of one group is computed: rows and columns of windows, B*H/h, W/w, N, D."""

    query: Tensor
    key: Tensor
    temperature: Tensor
    """Of the sum of all earlier terms."""


class FusedAttention(nn.Module):
    """A window attention with the parameters of another one; it passes on terms instead of a map."""

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        self.window = attention.window
        self.shift = attention.shift
        self.factor = attention.factor
        self.temperature = attention.temperature
        self.query = attention.query
        self.value = attention.value
        self.position = attention.position

    def forward(self, x: Tensor, previous: tuple[Term, ...] | None) -> tuple[Tensor, tuple[Term, ...]]:
        """Attend within windows of x (B, d, H, W); previous are the terms of the groups before, oldest first."""
        value = self.value(x)
        position = self.position(value)
        query, key = self._to_windows(torch.cat((self.query(x) + position, x + position), dim=1), 2)
        (value,) = self._to_windows(value, 1)  # apart from the two that are kept, or it would be kept with them
        if torch.is_grad_enabled():  # which keeps what the kernels read: one filled copy rather than one for each use
            query, key = _filled(query), _filled(key)
        terms = (*(previous or ()), Term(query, key, self.temperature))
        out = self._from_windows(self._attend(terms, _filled(value)), x)
        return position + out, terms  # in the layout of its first term, which the convolutions like

    def _attend(self, terms: tuple[Term, ...], value: Tensor) -> Tensor:
        total: Tensor | None = None
        for query, key, temperature in terms:
            out = F.scaled_dot_product_attention(_filled(query), _filled(key), value, scale=self.factor)
            total = out if total is None else torch.addcmul(out, temperature.to(out.dtype), total)
        assert total is not None
        return total

    def _to_windows(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """B, parts*d, H, W to so many of B*H/h, W/w, N, d.

        Rows and columns apart: GPUs bound each dimension of what they start, and 65,535 windows are 4 million pixels.
        """
        if self.shift != (0, 0):
            x = x.roll((-self.shift[0], -self.shift[1]), dims=(-2, -1))
        B, channels, H, W = x.shape
        (h, w), d = self.window, channels // parts
        x = x.permute(0, 2, 3, 1).reshape(B, H // h, h, W // w, w, parts, d).permute(5, 0, 1, 3, 2, 4, 6)
        return x.reshape(parts, B * (H // h), W // w, h * w, d).unbind()

    def _from_windows(self, windows: Tensor, like: Tensor) -> Tensor:
        B, d, H, W = like.shape
        h, w = self.window
        x = windows[..., :d].reshape(B, H // h, W // w, h, w, d).permute(0, 1, 3, 2, 4, 5)
        x = x.reshape(B, H, W, d).permute(0, 3, 1, 2)
        return x if self.shift == (0, 0) else x.roll(self.shift, dims=(-2, -1))


def _filled(x: Tensor) -> Tensor:
    """Zeros appended to the last dimension, to a multiple of what the kernels read; products stay the same.

    Source: PyTorch's kernels for CUDA. Those that cannot read so leave the work to one that stores the maps.
    """
    filling = -x.shape[-1] % (_BYTES_READ_AT_ONCE // x.element_size())
    return F.pad(x, (0, filling)) if filling else x


def fuse(network: BGAI) -> BGAI:
    """Have a network attend without stored maps, in place.

    Parameters, their names and the results stay the same, gradients included, to rounding.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, WindowAttention):
                parent.add_module(name, FusedAttention(child))
    return network
