"""The network's weights as the compiled kernel takes them: one array, in the order of the structures in `network.cpp`.

What is linear is computed beforehand, in float64: scales and biases of normalisations, a group's last convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.network.config import MEAN_RGB, NetworkConfig

Array = NDArray[Any]
Tensors = Mapping[str, NDArray[np.float32]]


def pack_weights(tensors: Tensors, config: NetworkConfig) -> NDArray[np.float32]:
    """All weights, as one array of one dimension.

    Args:
        tensors: Named as in `bgai.network.model.BGAI.state_dict`.
        config: The network's settings.

    Raises:
        KeyError: A tensor is missing.
    """
    return np.concatenate([array.astype(np.float32).ravel() for array in _network(tensors, config)])


def _network(tensors: Tensors, config: NetworkConfig) -> Iterator[Array]:
    C = config.channels
    yield np.array(MEAN_RGB)
    yield from _named(tensors, "shallow")
    for group in range(config.groups):
        name = f"groups.{group}"
        yield from _mixing(tensors, f"{name}.mixing1")
        yield from _named(tensors, f"{name}.mixing1.join")
        for index in range(config.blocks):
            yield from _block(tensors, f"{name}.blocks.{index}")
        yield from _mixing(tensors, f"{name}.mixing2")
        yield from _fuse(tensors, name, C)
        yield tensors["fuse.weight"][:, group * C : (group + 1) * C]
        yield tensors["fuse.bias"] if group == 0 else np.zeros(C)
    yield from _mixing(tensors, "refine")
    yield from _named(tensors, "refine.join")
    yield tensors["head.weight"]
    yield tensors["head.bias"] + np.repeat(MEAN_RGB, config.scale**2)


def _mixing(tensors: Tensors, name: str) -> Iterator[Array]:
    slices = (np.split(each, 4) for each in _named(tensors, f"{name}.spread"))
    for weight, bias in zip(*slices, strict=True):
        yield from (weight, bias)
    yield from _named(tensors, *(f"{name}.{part}" for part in ("vertical", "horizontal", "near.0", "near.1")))


def _fuse(tensors: Tensors, name: str, channels: int) -> Iterator[Array]:
    """Bypass, the last mixing block's join, the fusion of both and the residual: one matrix for mixed and input."""
    weight, bias = (each.astype(np.float64) for each in _named(tensors, f"{name}.fuse"))
    join, join_bias = _named(tensors, f"{name}.mixing2.join")
    bypass, bypass_bias = _named(tensors, f"{name}.bypass")
    of_bypass, of_mixed = np.split(weight[:, :, 0, 0], [len(bypass)], axis=1)
    of_input = of_bypass @ bypass[:, :, 0, 0] + np.eye(channels)
    yield np.concatenate((of_mixed @ join[:, :, 0, 0], of_input), axis=1)
    yield of_bypass @ bypass_bias + of_mixed @ join_bias + bias


def _block(tensors: Tensors, name: str) -> Iterator[Array]:
    yield from _normed(tensors, f"{name}.router", f"{name}.norm1")
    yield from _normed(tensors, f"{name}.local", f"{name}.norm1")
    yield from _attention(tensors, f"{name}.broadcast_attention")
    for index in range(3):
        gate = f"{name}.gates.{index}"
        both = [list(_named(tensors, f"{gate}.{part}")) for part in ("reset", "update")]
        yield from map(np.concatenate, zip(*both, strict=True))
        yield from _named(tensors, f"{gate}.candidate", f"{gate}.extract")
        yield from _attention(tensors, f"{name}.local_attentions.{index}")
    yield from _named(tensors, f"{name}.project")
    yield from _normed(tensors, f"{name}.mlp.widen", f"{name}.norm2")
    convolutions = "square", "tall", "wide", "twice.0", "twice.1", "narrow"
    yield from _named(tensors, *(f"{name}.mlp.{part}" for part in convolutions))


def _attention(tensors: Tensors, name: str) -> Iterator[Array]:
    yield from _named(tensors, f"{name}.query", f"{name}.value", f"{name}.position")
    yield tensors[f"{name}.temperature"]


def _normed(tensors: Tensors, name: str, norm: str) -> Iterator[Array]:
    """A convolution that includes the scale and bias of the normalisation before it."""
    weight = tensors[f"{name}.weight"][:, :, 0, 0].astype(np.float64)
    yield weight * tensors[f"{norm}.weight"]
    yield tensors[f"{name}.bias"] + weight @ tensors[f"{norm}.bias"]


def _named(tensors: Tensors, *names: str) -> Iterator[Array]:
    yield from (tensors[f"{name}.{part}"] for name in names for part in ("weight", "bias"))
