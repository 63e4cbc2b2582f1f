"""The network's weights as numpy arrays, from our files and the authors'; needs no PyTorch."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from bgai.atomic_files import whole_or_nothing
from bgai.errors import UsageError, WeightsError
from bgai.network.config import NetworkConfig
from bgai.types import Tensors
from bgai.weights.pth_file import read_pth

FORMAT = "bgai-1"

# Names in the authors' checkpoints -> names in `bgai.network.model`, applied in this order.
RELEASED_NAMES = (
    (r"^conv_shallow\.", "shallow."),
    (r"^c\.", "fuse."),
    (r"^conv_before_upsample\.0\.", "refine."),
    (r"^upsample\.0\.0\.", "head."),
    (r"^bsc_layer\.(\d+)\.", r"groups.\1."),
    (r"\.res_spatial_attn\.0\.body\.0\.conv1\.", ".mixing1."),
    (r"\.res_spatial_attn\.0\.body\.1\.swin_body\.(\d+)\.", r".blocks.\1."),
    (r"\.res_spatial_attn\.1\.", ".mixing2."),
    (r"^(groups\.\d+)\.conv1x1_2\.", r"\1.bypass."),
    (r"^(groups\.\d+)\.conv1x1_3\.", r"\1.fuse."),
    (r"\.proj1_router\.", ".router."),
    (r"\.proj1\.", ".local."),
    (r"\.attn1\.", ".broadcast_attention."),
    (r"\.attn2\.", ".local_attentions.0."),
    (r"\.attn3\.", ".local_attentions.1."),
    (r"\.attn4\.", ".local_attentions.2."),
    (r"\.proj_q\.", ".query."),
    (r"\.proj_v\.", ".value."),
    (r"\.lepe_v\.", ".position."),
    (r"\.gate_layer1\.", ".gates.0."),
    (r"\.gate_layer2\.", ".gates.1."),
    (r"\.gate_layer3\.", ".gates.2."),
    (r"\.gated_reset\.", ".reset."),
    (r"\.gated_update\.", ".update."),
    (r"\.gated_fusion\.", ".candidate."),
    (r"\.proj\.", ".project."),
    (r"\.mlp\.fc1\.", ".mlp.widen."),
    (r"\.mlp\.fc2\.", ".mlp.narrow."),
    (r"\.dwc1\.conv2_1\.", ".square."),
    (r"\.dwc1\.conv2_2\.", ".tall."),
    (r"\.dwc1\.conv2_3\.", ".wide."),
    (r"\.dwc1\.conv2_4\.", ".twice."),
    (r"\.conv1\.", ".spread."),
    (r"\.conv2_2\.", ".vertical."),
    (r"\.conv2_3\.", ".horizontal."),
    (r"\.conv2_4\.", ".near."),
    (r"\.conv1x1_2\.", ".join."),
)


def read_weights(path: str | Path, key: str = "params_ema") -> tuple[NetworkConfig, Tensors]:
    """The network's settings, inferred from the tensors where the file does not say them, and its tensors.

    Args:
        path: A `.safetensors` file that `write_weights` wrote, a `.pth` file of the original project, or the `.state`
            of a training.
        key: Which of the weights in a `.pth` file: `params_ema` (averaged) or `params`.

    Raises:
        WeightsError: The file is missing, damaged, or holds something else than this network.
    """
    path = Path(path)
    _check_readable(path)
    tensors: Mapping[str, NDArray[Any]]
    if path.suffix == ".safetensors":
        config, tensors = _read_ours(path)
    elif path.suffix == ".state":
        from bgai.weights.state_file import read_state_weights

        config, tensors = read_state_weights(path)
    else:
        tensors = {_our_name(name): _as_convolution(tensor) for name, tensor in read_pth(path, key).items()}
        config = _config_of(tensors, path)
    _check_shapes(tensors, config, path)
    return config, {name: _finite(name, tensor, path) for name, tensor in tensors.items()}


def write_weights(
    config: NetworkConfig,
    tensors: Mapping[str, NDArray[np.float32]],
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
    *,
    overwrite: bool = True,
) -> None:
    """Write a safetensors file with the network's settings and `metadata`, whole or not at all.

    Raises:
        OutputError: `path` exists and `overwrite` is false, or it cannot be written.
    """
    header = {**(metadata or {}), "format": FORMAT, "config": json.dumps(asdict(config))}
    with whole_or_nothing(Path(path), overwrite) as partial:
        partial.write_bytes(save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, header))


def read_metadata(path: str | Path) -> dict[str, str]:
    """What a safetensors file of ours says of its weights: settings, training commit, data, iterations, PSNR."""
    try:
        with safe_open(path, "np") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file: {error}") from None


def _read_ours(path: Path) -> tuple[NetworkConfig, Mapping[str, NDArray[Any]]]:
    header = read_metadata(path)
    try:
        tensors = load_file(path)
        return NetworkConfig(**json.loads(header["config"])) if "config" in header else _config_of(
            tensors, path
        ), tensors
    except (UsageError, TypeError, ValueError, RecursionError, SafetensorError) as error:
        raise WeightsError(f"{path}: its settings do not describe a network: {error}") from None


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise WeightsError(f"{path}: the file is empty")
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from None


def _our_name(released: str) -> str:
    for pattern, replacement in RELEASED_NAMES:
        released = re.sub(pattern, replacement, released)
    return released


def _as_convolution(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """The authors' linear layers are 1 x 1 convolutions here."""
    return tensor[:, :, None, None] if tensor.ndim == 2 else tensor


def _config_of(tensors: Mapping[str, Any], path: Path) -> NetworkConfig:
    """The paper's settings at the scale of the last convolution, which gives 3 s^2 channels."""
    if "head.weight" not in tensors or tensors["head.weight"].ndim != 4:
        raise WeightsError(f"{path}: not a BGAI network: its last convolution is missing among {len(tensors)} tensors")
    try:
        return NetworkConfig(math.isqrt(tensors["head.weight"].shape[0] // 3))
    except UsageError as error:
        raise WeightsError(f"{path}: its settings do not describe a network: {error}") from None


def _check_shapes(tensors: Mapping[str, NDArray[Any]], config: NetworkConfig, path: Path) -> None:
    """Refuse tensors that are not exactly the network's, and say which."""
    if config.groups * config.blocks > len(tensors):  # before a list of all that such a network has is made
        raise WeightsError(f"{path}: not this network: {len(tensors)} tensors for {config.groups} groups of blocks")
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


def _finite(name: str, tensor: NDArray[Any], path: Path) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        values = tensor.astype(np.float32)
    if not np.issubdtype(tensor.dtype, np.floating) or not np.isfinite(values).all():
        raise WeightsError(f"{path}: {name!r} holds values that are not finite numbers of floating point")
    return values


def tensor_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors of `bgai.network.model.BGAI` by their names in its state."""
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
