"""The one place where weights are read, from our files and the authors', as numpy arrays; needs no PyTorch."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bgai.errors import UsageError, WeightsError
from bgai.network.config import NetworkConfig
from bgai.types import Tensors
from bgai.weights.pth_file import read_pth
from bgai.weights.safetensors_file import read_safetensors
from bgai.weights.shapes import tensor_shapes
from bgai.weights.sources import Weights
from bgai.weights.state_file import read_state_weights

_Tensor = TypeVar("_Tensor", bound=Any)

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

    Tensors in float64, float16 and bfloat16 become float32.

    Args:
        path: A `.safetensors` file that `write_weights` wrote, a `.pth` file of the original project, or the `.state`
            of a training, which needs PyTorch.
        key: Which of the weights in a `.pth` file: `params_ema` (averaged) or `params`.

    Raises:
        WeightsError: The file is missing, damaged, or holds something else than this network.
    """
    path = Path(path)
    _check_readable(path)
    if path.suffix == ".safetensors":
        metadata, tensors = read_safetensors(path)
        config = _stored_config(metadata["config"], path) if "config" in metadata else _config_of(tensors, path)
    elif path.suffix == ".state":
        config, tensors = read_state_weights(path)
    else:
        tensors = from_released(read_pth(path, key))
        config = _config_of(tensors, path)
    _check_shapes(tensors, config, path)
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise WeightsError(f"{path}: {name!r} holds values that are not finite numbers in float32")
    return config, tensors


def blended_weights(weights: Weights) -> tuple[NetworkConfig, Tensors]:
    """Settings and tensors of weights other than a graph; of two files, the mean weighted by `clean`.

    Raises:
        WeightsError: A file is damaged or not of this network, or the two are not of the same network.
    """
    config, tensors = read_weights(weights.file, weights.key)
    if weights.other is None:
        return config, tensors
    other_config, others = read_weights(weights.other, weights.key)
    if other_config != config:
        raise WeightsError(f"{weights.other}: not of the same network as {weights.file}")
    clean = np.float32(weights.clean)
    return config, {name: (1 - clean) * tensor + clean * others[name] for name, tensor in tensors.items()}


def from_released(tensors: Mapping[str, _Tensor]) -> dict[str, _Tensor]:
    """Tensors of numpy or PyTorch, named and shaped as in the authors' checkpoints, by our names and in our shapes."""
    return {_our_name(name): _as_convolution(tensor) for name, tensor in tensors.items()}


def _stored_config(text: str, path: Path) -> NetworkConfig:
    """The network's settings in the metadata of a file."""
    try:
        return NetworkConfig(**json.loads(text))
    except (UsageError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: its settings do not describe a network: {str(error)[:200]}") from error


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise WeightsError(f"{path}: the file is empty")
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error


def _our_name(released: str) -> str:
    for pattern, replacement in RELEASED_NAMES:
        released = re.sub(pattern, replacement, released)
    return released


def _as_convolution(tensor: _Tensor) -> _Tensor:
    """The authors' linear layers are 1 x 1 convolutions here."""
    convolution: _Tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
    return convolution


def _config_of(tensors: Mapping[str, Any], path: Path) -> NetworkConfig:
    """The paper's settings at the scale of the last convolution, which gives 3 s^2 channels."""
    if "head.weight" not in tensors or tensors["head.weight"].ndim != 4:
        raise WeightsError(f"{path}: not a BGAI network: its last convolution is missing among {len(tensors)} tensors")
    try:
        return NetworkConfig(math.isqrt(tensors["head.weight"].shape[0] // 3))
    except UsageError as error:
        raise WeightsError(f"{path}: its settings do not describe a network: {error}") from error


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
