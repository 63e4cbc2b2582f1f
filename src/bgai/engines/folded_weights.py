"""The network's weights with all that is linear computed beforehand, for engines that build the network themselves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bgai.network.config import MEAN_RGB, NetworkConfig

Folded = dict[str, NDArray[np.float64]]


def fold(tensors: Mapping[str, NDArray[np.float32]], config: NetworkConfig) -> Folded:
    """Tensors with the same names, in float64, which leaves one rounding, as in the network itself.

    Convolutions after a normalisation include its scale and bias. A group's `fuse` is one matrix, C x 2C, for what its
    last mixing block has mixed and for the group's input: it includes that block's `join`, the bypass and the residual.
    The head's bias includes the mean colour. What is included elsewhere is left out.

    Args:
        tensors: Named as in `bgai.network.model.BGAI.state_dict`.
        config: The network's settings.

    Raises:
        KeyError: A tensor is missing.
    """
    folded = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    folded["head.bias"] += np.repeat(MEAN_RGB, config.scale**2)
    for group in range(config.groups):
        _fold_fusion(folded, f"groups.{group}", config.channels)
        for index in range(config.blocks):
            block = f"groups.{group}.blocks.{index}"
            _fold_normalisation(folded, f"{block}.norm1", (f"{block}.router", f"{block}.local"))
            _fold_normalisation(folded, f"{block}.norm2", (f"{block}.mlp.widen",))
    return folded


def _fold_normalisation(folded: Folded, norm: str, convolutions: tuple[str, ...]) -> None:
    scale, bias = folded.pop(f"{norm}.weight"), folded.pop(f"{norm}.bias")
    for name in convolutions:
        weight = folded[f"{name}.weight"]
        folded[f"{name}.bias"] = folded[f"{name}.bias"] + weight[:, :, 0, 0] @ bias
        folded[f"{name}.weight"] = weight * scale[None, :, None, None]


def _fold_fusion(folded: Folded, group: str, channels: int) -> None:
    weight, bias = folded[f"{group}.fuse.weight"][:, :, 0, 0], folded[f"{group}.fuse.bias"]
    join, join_bias = (folded.pop(f"{group}.mixing2.join.{part}") for part in ("weight", "bias"))
    bypass, bypass_bias = (folded.pop(f"{group}.bypass.{part}") for part in ("weight", "bias"))
    of_bypass, of_mixed = np.split(weight, [len(bypass)], axis=1)
    of_input = of_bypass @ bypass[:, :, 0, 0] + np.eye(channels)
    both = np.concatenate((of_mixed @ join[:, :, 0, 0], of_input), axis=1)
    folded[f"{group}.fuse.weight"] = both[:, :, None, None]
    folded[f"{group}.fuse.bias"] = of_bypass @ bypass_bias + of_mixed @ join_bias + bias
