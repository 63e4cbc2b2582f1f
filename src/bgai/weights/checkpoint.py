"""The network and its checkpoint files: loading it from ours and the authors', writing ours. Needs PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI
from bgai.types import Tensors
from bgai.weights.reading import read_weights
from bgai.weights.safetensors_file import write_weights


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
    return build_network(*read_weights(source, key))


def build_network(config: NetworkConfig, tensors: Tensors) -> BGAI:
    """The network that these settings and tensors describe, in float32 on the CPU, in evaluation mode."""
    network = BGAI(config)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
    return network.eval()


def save_network(
    network: BGAI, path: str | Path, metadata: Mapping[str, str] | None = None, *, overwrite: bool = True
) -> None:
    """Write a safetensors file with the network's settings and `metadata`, whole or not at all.

    Args:
        network: On any device, in any precision; float32 is written.
        path: A name that ends in `.safetensors`.
        metadata: More to keep in the file; `halo`, the network's halo in pixels, is what `Upscaler` looks for.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        OutputError: `path` exists and `overwrite` is false, or it cannot be written.
    """
    tensors = {name: tensor.detach().float().cpu().numpy() for name, tensor in network.state_dict().items()}
    write_weights(network.config, tensors, path, metadata, overwrite=overwrite)
