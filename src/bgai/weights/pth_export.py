"""Weights in the layout of the original project's checkpoints, for its code and BasicSR's. Needs PyTorch to write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bgai.atomic_files import whole_or_nothing
from bgai.errors import MissingExtraError
from bgai.weights.reading import RELEASED_NAMES

_LINEAR = re.compile(r"\.(fc[12]|proj)\.weight$")


def released_tensors(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Our tensors with the names and shapes of the authors' checkpoints."""
    released = {}
    for name, tensor in tensors.items():
        theirs = _released_name(name)
        # Their linear layers are 1 x 1 convolutions here.
        released[theirs] = tensor[:, :, 0, 0] if tensor.ndim == 4 and _LINEAR.search(theirs) else tensor
    return released


def _released_name(name: str) -> str:
    """Undo the replacements of `RELEASED_NAMES`, the last one first."""
    for theirs, ours in reversed(RELEASED_NAMES):
        group = r"(groups\.\d+)" if "(groups" in theirs else r"(\d+)"
        pattern = ours.replace(".", r"\.").replace(r"\1", group)
        replacement = re.sub(r"\(.*?\)", r"\\1", theirs.removeprefix("^")).replace(r"\.", ".")
        name = re.sub("^" * theirs.startswith("^") + pattern, replacement, name)
    return name


def write_pth(tensors: Mapping[str, NDArray[np.float32]], path: Path, *, overwrite: bool = True) -> None:
    """Write a `.pth` file that the original project's code loads strictly, whole or not at all.

    Args:
        tensors: By their names in `bgai.network.model`; the file holds them as `params` and as `params_ema`.
        path: Of the file.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        MissingExtraError: PyTorch is missing.
        OutputError: The file exists, or cannot be written.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError("torch", "writing a .pth file") from error
    state = {name: torch.from_numpy(np.ascontiguousarray(tensor)) for name, tensor in released_tensors(tensors).items()}
    with whole_or_nothing(path, overwrite) as partial:
        torch.save({"params": state, "params_ema": state}, partial)
