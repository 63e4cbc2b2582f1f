"""Safetensors files of the network as numpy arrays; needs no PyTorch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from bgai.config import NetworkConfig
from bgai.errors import UsageError, WeightsError

Tensors = dict[str, NDArray[np.float32]]


def read_metadata(path: str | Path) -> dict[str, str]:
    """What a safetensors file of ours says of its weights: settings, training commit, data, iterations, PSNR."""
    try:
        with safe_open(path, "np") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file: {error}") from None


def read_tensors(path: Path) -> tuple[NetworkConfig, Tensors]:
    """The network's settings, inferred from the tensors where the file does not say them, and its tensors.

    Raises:
        WeightsError: The file is missing, damaged, or holds something else than this network.
    """
    check_readable(path)
    header = read_metadata(path)
    try:
        tensors = load_file(path)
        config = NetworkConfig(**json.loads(header["config"])) if "config" in header else config_of(tensors, path)
    except (UsageError, TypeError, ValueError, SafetensorError) as error:
        raise WeightsError(f"{path}: its settings do not describe a network: {error}") from None
    check_tensors(tensors, config, path)
    return config, {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise WeightsError(f"{path}: the file is empty")
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from None


def config_of(tensors: Mapping[str, Any], path: Path) -> NetworkConfig:
    """The paper's settings at the scale of the last convolution, which gives 3 s^2 channels."""
    if "head.weight" not in tensors or tensors["head.weight"].ndim != 4:
        raise WeightsError(f"{path}: not a BGAI network: its last convolution is missing among {len(tensors)} tensors")
    try:
        return NetworkConfig(math.isqrt(tensors["head.weight"].shape[0] // 3))
    except UsageError as error:
        raise WeightsError(f"{path}: its settings do not describe a network: {error}") from None


def check_tensors(tensors: Mapping[str, NDArray[Any]], config: NetworkConfig, path: Path) -> None:
    """Refuse tensors that are not exactly the network's, and say which."""
    expected = tensor_shapes(config)
    missing, extra = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or extra:
        example = min(missing or extra)
        raise WeightsError(
            f"{path}: not this network: {len(missing)} tensors missing, {len(extra)} unknown, such as {example!r}"
        )
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise WeightsError(f"{path}: {name!r} has shape {tensors[name].shape}; this network has {shape}")
        if not np.issubdtype(tensors[name].dtype, np.floating) or not np.isfinite(tensors[name]).all():
            raise WeightsError(f"{path}: {name!r} holds values that are not finite numbers of floating point")


def tensor_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors of `bgai.model.BGAI` by their names in its state."""
    C, broadcast, local = config.channels, config.broadcast_channels, config.local_channels
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, out: int, each: int, h: int = 1, w: int = 1) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, each, h, w), (out,)

    def mixing(name: str) -> None:
        convolution(f"{name}.spread", C, C)
        for part, h, w in (("vertical", 15, 1), ("horizontal", 1, 15), ("near.0", 3, 3), ("near.1", 3, 3)):
            convolution(f"{name}.{part}", C // 4, 1, h, w)
        convolution(f"{name}.join", C, C)

    def attention(name: str, channels: int) -> None:
        shapes[f"{name}.temperature"] = (1, 1, 1)
        convolution(f"{name}.query", channels, channels)
        convolution(f"{name}.value", channels, channels)
        convolution(f"{name}.position", channels, 1, 5, 5)

    def gate(name: str) -> None:
        convolution(f"{name}.reset", broadcast, local + broadcast)
        convolution(f"{name}.update", local, local + broadcast)
        convolution(f"{name}.candidate", local, local + broadcast)
        convolution(f"{name}.extract", local, broadcast)

    def mlp(name: str) -> None:
        width = C * config.mlp_ratio
        convolution(f"{name}.widen", width, C)
        reaches = (("square", 3, 3), ("tall", 5, 3), ("wide", 3, 5), ("twice.0", 3, 3), ("twice.1", 3, 3))
        for part, h, w in reaches:
            convolution(f"{name}.{part}", width // 4, 1, h, w)
        convolution(f"{name}.narrow", C, width)

    def block(name: str) -> None:
        for norm in ("norm1", "norm2"):
            shapes[f"{name}.{norm}.weight"] = shapes[f"{name}.{norm}.bias"] = (C,)
        convolution(f"{name}.router", broadcast, C)
        convolution(f"{name}.local", 3 * local, C)
        attention(f"{name}.broadcast_attention", broadcast)
        for index in range(3):
            attention(f"{name}.local_attentions.{index}", local)
            gate(f"{name}.gates.{index}")
        convolution(f"{name}.project", C, broadcast + 3 * local)
        mlp(f"{name}.mlp")

    convolution("shallow", C, 3, 3, 3)
    for group in (f"groups.{index}" for index in range(config.groups)):
        convolution(f"{group}.bypass", C // 2, C)
        mixing(f"{group}.mixing1")
        for index in range(config.blocks):
            block(f"{group}.blocks.{index}")
        mixing(f"{group}.mixing2")
        convolution(f"{group}.fuse", C, C // 2 + C)
    convolution("fuse", C, config.groups * C)
    mixing("refine")
    convolution("head", 3 * config.scale**2, C, 3, 3)
    return shapes
