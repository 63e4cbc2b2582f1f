"""The BGAI network: RGB tensors in, enlarged RGB tensors out.

Dimensions: B batch, C feature channels, H x W pixels, d channels of one attention,
h x w window, n windows in the whole batch, N = h*w tokens in a window.

Source: "BGAI: Broadcast-Gated Attention with Identity Adaptive Integration for Efficient Image
Super-Resolution" and the checkpoints its authors released. Parts come in the paper's order, small to large.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bgai.network.config import NetworkConfig
from bgai.network.depthwise import DepthwiseConv2d
from bgai.network.integrated_attention import integrate
from bgai.network.pointwise import PointwiseConv2d, join, split, trains_on_cpu

Window = tuple[int, int]


def to_windows(x: Tensor, window: Window) -> Tensor:
    B, d, H, W = x.shape
    h, w = window
    x = x.view(B, d, H // h, h, W // w, w)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(-1, h * w, d)  # n, N, d


def from_windows(x: Tensor, window: Window, size: tuple[int, int]) -> Tensor:
    (h, w), (H, W) = window, size
    d = x.shape[-1]
    x = x.view(-1, H // h, W // w, h, w, d)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(-1, d, H, W)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels of B, C, H, W."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.bfloat16 and trains_on_cpu(self, x):  # where float32 takes a third of the time
            return super().forward(x.permute(0, 2, 3, 1).float()).to(x.dtype).permute(0, 3, 1, 2)
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class MixingBlock(nn.Module):
    """Four channel slices, each with its own kernels: none, 15 x 1, 1 x 15, and twice 3 x 3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        part = channels // 4
        self.spread = PointwiseConv2d(channels, channels)
        self.vertical = DepthwiseConv2d(part, 15, 1)
        self.horizontal = DepthwiseConv2d(part, 1, 15)
        self.near = nn.Sequential(DepthwiseConv2d(part, 3, 3), DepthwiseConv2d(part, 3, 3))
        self.join = PointwiseConv2d(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        same, vertical, horizontal, near = self.spread(x).chunk(4, dim=1)
        mixed = torch.cat((same, self.vertical(vertical), self.horizontal(horizontal), self.near(near)), dim=1)
        return self.join(F.gelu(mixed + x))


class WindowAttention(nn.Module):
    """Single-head window attention with identity adaptive integration of the previous group's map."""

    def __init__(self, channels: int, window: Window, shifted: bool) -> None:
        super().__init__()
        self.window = window
        self.shift = (window[0] // 2, window[1] // 2) if shifted else (0, 0)
        self.factor = channels**-0.5
        self.temperature = nn.Parameter(torch.ones(1, 1, 1))
        self.query = PointwiseConv2d(channels, channels)
        self.value = PointwiseConv2d(channels, channels)
        self.position = DepthwiseConv2d(channels, 5, 5)

    def forward(self, x: Tensor, previous: Tensor | None) -> tuple[Tensor, Tensor]:
        """Attend within windows of x (B, d, H, W); maps, the previous one and the one returned, are n, N, N."""
        value = self.value(x)
        position = self.position(value)
        if trains_on_cpu(self, x):  # to rounding, the same as below
            query = (self.query(x) + position) * self.factor
            out, attention = integrate(query, x + position, value, previous, self.temperature, self.window, self.shift)
            return position + out, attention
        # Content wraps around the image's edges, unmasked: the released weights were trained so.
        query_key_value = self._roll(torch.cat((self.query(x) + position, x + position, value), dim=1), -1)
        query, key, value = to_windows(query_key_value, self.window).chunk(3, dim=-1)  # n, N, d each
        attention = (query * self.factor @ key.transpose(-2, -1)).softmax(dim=-1)
        if previous is not None:
            attention = attention + self.temperature.to(attention.dtype) * previous
        out = self._roll(from_windows(attention @ value, self.window, (x.shape[-2], x.shape[-1])), 1)
        return position + out, attention  # in the layout of its first term, which the convolutions like

    def _roll(self, x: Tensor, sign: int) -> Tensor:
        if self.shift == (0, 0):
            return x
        return x.roll((sign * self.shift[0], sign * self.shift[1]), dims=(-2, -1))


class Gate(nn.Module):
    """A recurrent cell's gating: local features decide how much of the broadcast they take in."""

    def __init__(self, local_channels: int, broadcast_channels: int) -> None:
        super().__init__()
        both = local_channels + broadcast_channels
        self.reset = PointwiseConv2d(both, broadcast_channels)
        self.update = PointwiseConv2d(both, local_channels)
        self.candidate = PointwiseConv2d(both, local_channels)
        self.extract = PointwiseConv2d(broadcast_channels, local_channels)

    def forward(self, local: Tensor, broadcast: Tensor) -> Tensor:
        both = join(self, local, broadcast)
        reset = self.reset(both).sigmoid()
        update = self.update(both).sigmoid()
        candidate = self.candidate(join(self, local, reset * broadcast)).tanh()
        return (1 - update) * self.extract(broadcast) + update * candidate


class MLP(nn.Module):
    """Widen to more channels, convolve four slices with kernels of their own, narrow to as many as before."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        part = channels * ratio // 4
        self.widen = PointwiseConv2d(channels, channels * ratio)
        self.square = DepthwiseConv2d(part, 3, 3)
        self.tall = DepthwiseConv2d(part, 5, 3)
        self.wide = DepthwiseConv2d(part, 3, 5)
        self.twice = nn.Sequential(DepthwiseConv2d(part, 3, 3), DepthwiseConv2d(part, 3, 3))
        self.narrow = PointwiseConv2d(channels * ratio, channels)

    def forward(self, x: Tensor) -> Tensor:
        square, tall, wide, twice = self.widen(x).chunk(4, dim=1)
        x = torch.cat((self.square(square), self.tall(tall), self.wide(wide), self.twice(twice)), dim=1)
        return self.narrow(F.gelu(x))


class Block(nn.Module):
    """Broadcast residual attention block (BRAB): one attention whose result is broadcast to three others."""

    def __init__(self, config: NetworkConfig, shifted: bool) -> None:
        super().__init__()
        C, broadcast, local, window = (
            config.channels,
            config.broadcast_channels,
            config.local_channels,
            config.window,
        )
        self.window = window
        self.norm1 = LayerNorm(C)
        self.router = PointwiseConv2d(C, broadcast)
        self.local = PointwiseConv2d(C, 3 * local)
        self.broadcast_attention = WindowAttention(broadcast, (window, window), shifted)
        self.local_attentions = nn.ModuleList(
            WindowAttention(local, shape, shifted)
            for shape in ((window, window // 4), (window // 4, window), (window // 2, window // 2))
        )
        self.gates = nn.ModuleList(Gate(local, broadcast) for _ in range(3))
        self.project = PointwiseConv2d(broadcast + 3 * local, C)
        self.norm2 = LayerNorm(C)
        self.mlp = MLP(C, config.mlp_ratio)

    def forward(self, x: Tensor, previous: Sequence[Tensor | None]) -> tuple[Tensor, list[Tensor]]:
        """Map features to features (B, C, H, W); previous and returned are the four attention maps."""
        H, W = x.shape[-2:]
        # Padding precedes the normalisation, whose bias then fills it: padded pixels do take part in attention.
        normed = self.norm1(F.pad(x, (0, -W % self.window, 0, -H % self.window)))
        broadcast, attention = self.broadcast_attention(self.router(normed), previous[0])
        outputs, attentions = [broadcast], [attention]
        carried: Tensor | int = 0
        for local, gate, attend, earlier in zip(
            split(self, self.local(normed), 3), self.gates, self.local_attentions, previous[1:], strict=True
        ):
            carried, attention = attend(gate(local + carried, broadcast), earlier)
            outputs.append(carried)
            attentions.append(attention)
        x = x + self.project(join(self, *outputs))[..., :H, :W]
        return x + self.mlp(self.norm2(x)), attentions


class Group(nn.Module):
    """Broadcast attention group (BAG): blocks between two mixing blocks, beside a narrow bypass."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        C = config.channels
        self.bypass = PointwiseConv2d(C, C // 2)
        self.mixing1 = MixingBlock(C)
        self.blocks = nn.ModuleList(Block(config, shifted=index % 2 == 1) for index in range(config.blocks))
        self.mixing2 = MixingBlock(C)
        self.fuse = PointwiseConv2d(C // 2 + C, C)

    def forward(self, x: Tensor, previous: Sequence[Sequence[Tensor | None]]) -> tuple[Tensor, list[list[Tensor]]]:
        """Map features to features (B, C, H, W); previous and returned hold each block's attention maps."""
        features = self.enter(x)
        attentions = []
        for block, earlier in zip(self.blocks, previous, strict=True):
            features, maps = block(features, earlier)
            attentions.append(maps)
        return self.leave(x, features), attentions

    def enter(self, x: Tensor) -> Tensor:
        """The input of the first block, from the group's input; both B, C, H, W."""
        return self.mixing1(x) + x

    def leave(self, x: Tensor, features: Tensor) -> Tensor:
        """The group's output, from its input and the last block's output; all B, C, H, W."""
        return self.fuse(torch.cat((self.bypass(x), self.mixing2(features + x)), dim=1)) + x


class BGAI(nn.Module):
    """The whole network, for one scale.

    Input: RGB, B x 3 x H x W, float in [0, 1], any H and W from 1. Output: B x 3 x sH x sW, same dtype and
    device, not clamped.
    """

    mean: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        C = config.channels
        # DIV2K's mean RGB in ten-thousandths: an integer, which .half() leaves alone where it would round a float.
        self.register_buffer("mean", torch.tensor((4488, 4371, 4040)).view(3, 1, 1), persistent=False)
        self.shallow = nn.Conv2d(3, C, 3, padding=1)
        self.groups = nn.ModuleList(Group(config) for _ in range(config.groups))
        self.fuse = PointwiseConv2d(config.groups * C, C)
        self.refine = MixingBlock(C)
        self.head = nn.Conv2d(C, 3 * config.scale**2, 3, padding=1)
        # The first group has no map to integrate; its temperatures exist, unused, in every released checkpoint.
        for module in self.groups[0].modules():
            if isinstance(module, WindowAttention):
                module.temperature.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        shallow = self.shallow_features(x)
        return self.reconstruct(self.deep_features(shallow, self.group_features(shallow)))

    def shallow_features(self, x: Tensor) -> Tensor:
        """Picture, B, 3, H, W, to shallow features, B, C, H, W."""
        return self.shallow(x - self._mean(x))

    def group_features(self, shallow: Tensor) -> list[Tensor]:
        """Outputs of the groups, each B, C, H, W, for the shallow features of the same shape."""
        previous: Sequence[Sequence[Tensor | None]] = [[None] * 4] * self.config.blocks
        outputs = [shallow]
        for group in self.groups:
            features, previous = group(outputs[-1], previous)
            outputs.append(features)
        return outputs[1:]

    def deep_features(self, shallow: Tensor, groups: Sequence[Tensor]) -> Tensor:
        """Deep features from the shallow features and the groups' outputs; all B, C, H, W."""
        return self.refine(self.fuse(torch.cat(tuple(groups), dim=1))) + shallow

    def reconstruct(self, deep: Tensor) -> Tensor:
        """The enlarged picture, B, 3, sH, sW, from the deep features."""
        return F.pixel_shuffle(self.head(deep), self.config.scale) + self._mean(deep)

    def _mean(self, like: Tensor) -> Tensor:
        return (self.mean / 10000).to(like.dtype)
