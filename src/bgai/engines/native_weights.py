"""The network's weights as the compiled kernel takes them: one array, in the order of its structures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.engines.folded_weights import Folded, fold
from bgai.network.config import MEAN_RGB, NetworkConfig

Array = NDArray[Any]


def pack_weights(tensors: Mapping[str, NDArray[np.float32]], config: NetworkConfig) -> NDArray[np.float32]:
    """All weights, as one array of one dimension.

    Args:
        tensors: Named as in `bgai.network.model.BGAI.state_dict`.
        config: The network's settings.

    Raises:
        KeyError: A tensor is missing.
    """
    return np.concatenate([array.astype(np.float32).ravel() for array in _network(fold(tensors, config), config)])


def _network(folded: Folded, config: NetworkConfig) -> Iterator[Array]:
    C = config.channels
    yield np.array(MEAN_RGB)
    yield from _named(folded, "shallow")
    for group in range(config.groups):
        name = f"groups.{group}"
        yield from _mixing(folded, f"{name}.mixing1")
        yield from _named(folded, f"{name}.mixing1.join")
        for index in range(config.blocks):
            yield from _block(folded, f"{name}.blocks.{index}")
        yield from _mixing(folded, f"{name}.mixing2")
        yield from _named(folded, f"{name}.fuse")
        yield folded["fuse.weight"][:, group * C : (group + 1) * C]
        yield folded["fuse.bias"] if group == 0 else np.zeros(C)
    yield from _mixing(folded, "refine")
    yield from _named(folded, "refine.join", "head")


def _mixing(folded: Folded, name: str) -> Iterator[Array]:
    slices = (np.split(each, 4) for each in _named(folded, f"{name}.spread"))
    for weight, bias in zip(*slices, strict=True):
        yield from (weight, bias)
    yield from _named(folded, *(f"{name}.{part}" for part in ("vertical", "horizontal", "near.0", "near.1")))


def _block(folded: Folded, name: str) -> Iterator[Array]:
    yield from _named(folded, f"{name}.router", f"{name}.local")
    yield from _attention(folded, f"{name}.broadcast_attention")
    for index in range(3):
        gate = f"{name}.gates.{index}"
        both = [list(_named(folded, f"{gate}.{part}")) for part in ("reset", "update")]
        yield from map(np.concatenate, zip(*both, strict=True))
        yield from _named(folded, f"{gate}.candidate", f"{gate}.extract")
        yield from _attention(folded, f"{name}.local_attentions.{index}")
    convolutions = "widen", "square", "tall", "wide", "twice.0", "twice.1", "narrow"
    yield from _named(folded, f"{name}.project", *(f"{name}.mlp.{part}" for part in convolutions))


def _attention(folded: Folded, name: str) -> Iterator[Array]:
    yield from _named(folded, f"{name}.query", f"{name}.value", f"{name}.position")
    yield folded[f"{name}.temperature"]


def _named(folded: Folded, *names: str) -> Iterator[Array]:
    yield from (folded[f"{name}.{part}"] for name in names for part in ("weight", "bias"))
