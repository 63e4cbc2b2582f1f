"""The weights that a training starts from."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from bgai.network.model import BGAI


def start_from_interpolation(network: BGAI) -> None:
    """Set the weights at both ends so that an untrained network interpolates bilinearly.

    The features' long skip connection carries the picture past all groups, whose sum starts at zero: a network that
    starts from an enlarged picture does not spend its first minutes on learning the mean colour.
    """
    s = network.config.scale
    offsets = (torch.arange(s) + 0.5) / s - 0.5  # of each output sample from its input pixel's centre
    taps = torch.stack([(1 - (offsets - tap).abs()).clamp(min=0) for tap in (-1, 0, 1)], dim=1)  # s, 3
    kernels = torch.einsum("ia,jb->ijab", taps, taps).reshape(s * s, 3, 3)
    shallow, head = network.shallow, network.head
    assert shallow.bias is not None
    assert head.bias is not None
    with torch.no_grad():
        shallow.weight[:3] = 0
        shallow.bias[:3] = 0
        for tensor in (network.refine.join.weight, network.refine.join.bias, head.weight, head.bias):
            assert tensor is not None
            tensor.zero_()
        for colour in range(3):
            shallow.weight[colour, colour, 1, 1] = 1
            subpixels = slice(colour * s * s, (colour + 1) * s * s)
            head.weight[subpixels, colour] = kernels


def start_from_network(network: BGAI, other: BGAI) -> None:
    """Take over the weights of a network of any scale s': the body as it is, the head's subpixels resampled."""
    s = network.config.scale
    tensors = other.state_dict()
    for name in ("head.weight", "head.bias"):
        rest = tensors[name].shape[1:]
        subpixels = tensors[name].view(3, other.config.scale, other.config.scale, -1).permute(3, 0, 1, 2)
        resampled = F.interpolate(subpixels, (s, s), mode="bilinear", align_corners=False)  # rest, 3, s, s
        tensors[name] = resampled.permute(1, 2, 3, 0).reshape(3 * s * s, *rest)
    network.load_state_dict(tensors)
