"""The averaged weights in the state of a training."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from bgai.errors import MissingExtraError, UsageError, WeightsError
from bgai.network.config import NetworkConfig
from bgai.types import Tensors


def read_state_metadata(path: Path) -> dict[str, str]:
    """Commit, minutes and history of a training, by the names that the metadata of other files have.

    Raises:
        MissingExtraError: PyTorch is missing.
        WeightsError: The file is missing, damaged, or no state of a training.
    """
    state = _load(path)
    try:
        minutes = f"{state['seconds'] / 60:.1f}"
        return {"commit": str(state["commit"]), "minutes": minutes, "history": str(state.get("history", "[]"))}
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: damaged, or not a training state") from error


def read_state_weights(path: Path) -> tuple[NetworkConfig, Tensors]:
    """The network's settings and its averaged tensors, as `reading.read_weights` gives those of other files.

    Raises:
        MissingExtraError: PyTorch is missing.
        WeightsError: The file is missing, damaged, or no state of a training.
    """
    state = _load(path)
    try:
        options = json.loads(state["options"])
        shape = {name: value for name, value in options["network_g"].items() if name not in ("type", "upscale_factor")}
        tensors = {name: tensor.numpy() for name, tensor in state["average"].items()}
        return NetworkConfig(options["scale"], **shape), tensors
    except UsageError as error:
        raise WeightsError(f"{path}: its settings do not describe a network: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path}: damaged, or not a training state") from error


def _load(path: Path) -> Any:
    try:
        return load_checked(path)
    except ModuleNotFoundError as error:
        raise MissingExtraError("torch", f"reading {path}") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle makes its reader raise anything
        raise WeightsError(f"{path}: damaged, or not a training state") from error


def load_checked(path: Path) -> Any:
    """What PyTorch saved, onto the CPU, if the checksums in the file are right; PyTorch does not look at them.

    Raises:
        Exception: Anything, where the file is damaged.
    """
    import torch

    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(damaged)
    return torch.load(path, map_location="cpu", weights_only=True)
