"""Checkpoint files of the network: reading ours and the authors', writing ours. Needs PyTorch."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from bgai.config import NetworkConfig
from bgai.errors import WeightsError
from bgai.files import whole_or_nothing
from bgai.model import BGAI
from bgai.tensors import Tensors, check_readable, check_tensors, config_of, read_tensors

FORMAT = "bgai-1"

# Names in the authors' checkpoints -> names in `bgai.model`, applied in this order.
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


def load_network(source: str | Path, key: str = "params_ema") -> BGAI:
    """Load a network from our safetensors or from a checkpoint that the authors released.

    Args:
        source: A `.safetensors` file that `save_network` wrote, or a `.pth` file of the original project. The scale
            is inferred from the tensors.
        key: Which of the weights in a `.pth` file: `params_ema` (averaged) or `params`.

    Returns:
        The network in float32 on the CPU, in evaluation mode.

    Raises:
        WeightsError: The file is missing, damaged, or holds something else than this network.
    """
    return build_network(*read_checkpoint(Path(source), key))


def build_network(config: NetworkConfig, tensors: Tensors) -> BGAI:
    """The network that these settings and tensors describe, in float32 on the CPU, in evaluation mode."""
    network = BGAI(config)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
    return network.eval()


def read_checkpoint(path: Path, key: str = "params_ema") -> tuple[NetworkConfig, Tensors]:
    """The settings and tensors of either kind of file; arguments and errors as for `load_network`."""
    if path.suffix == ".safetensors":
        return read_tensors(path)
    check_readable(path)
    tensors = {name: tensor.numpy() for name, tensor in _read_released(path, key).items()}
    config = config_of(tensors, path)
    check_tensors(tensors, config, path)
    return config, tensors


def save_network(
    network: BGAI, path: str | Path, metadata: Mapping[str, str] | None = None, *, overwrite: bool = True
) -> None:
    """Write a safetensors file with the network's settings and `metadata`, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    header = {**(metadata or {}), "format": FORMAT, "config": json.dumps(asdict(network.config))}
    with whole_or_nothing(Path(path), overwrite) as partial:
        partial.write_bytes(save(tensors, header))


def _read_released(path: Path, key: str) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError(f"{path}: not a checkpoint, or one with code in it; only plain tensors are loaded") from None
    except Exception:  # a damaged pickle makes its reader raise anything
        raise WeightsError(f"{path}: damaged, or not a PyTorch checkpoint") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__}; expected a dict with {key!r}")
    if key not in content:
        found = ", ".join(map(str, list(content)[:6])) or "nothing"
        raise WeightsError(f"{path}: has no {key!r}; found {found}")
    tensors = content[key]
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()
    ):
        raise WeightsError(f"{path}: {key!r} is not a dict of tensors")
    return {_our_name(name): _as_convolution(tensor) for name, tensor in tensors.items()}


def _our_name(released: str) -> str:
    for pattern, replacement in RELEASED_NAMES:
        released = re.sub(pattern, replacement, released)
    return released


def _as_convolution(tensor: Tensor) -> Tensor:
    """The authors' linear layers are 1 x 1 convolutions here."""
    return tensor[:, :, None, None] if tensor.ndim == 2 else tensor
