"""Weights of any file as a safetensors file of ours."""

from __future__ import annotations

from pathlib import Path

from bgai.errors import UsageError
from bgai.weights.reading import read_weights
from bgai.weights.safetensors_file import read_metadata, write_weights
from bgai.weights.sources import Weights


def convert_weights(weights: Weights, target: Path, overwrite: bool = False) -> None:
    """Write weights as a safetensors file, with all that their file says of them, and their halo.

    Raises:
        UsageError: They are an ONNX graph.
        WeightsError: Their file is damaged or not of this network.
        OutputError: `target` exists and `overwrite` is false, or it cannot be written.
    """
    if weights.is_graph:
        raise UsageError(f"{weights.name}: a graph, of which no weights can be made; expected .safetensors or .pth")
    config, tensors = read_weights(weights.file, weights.key)
    metadata = read_metadata(weights.file) if weights.file.suffix == ".safetensors" else {}
    write_weights(config, tensors, target, {**metadata, "halo": str(weights.halo)}, overwrite=overwrite)
