"""Safetensors files: tensors and the metadata beside them, read and written without PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save

from bgai.atomic_files import whole_or_nothing
from bgai.errors import WeightsError
from bgai.network.config import NetworkConfig
from bgai.types import Tensors

FORMAT = "bgai-1"
MAX_BYTES = 256 * 2**20
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # numpy has no bfloat16: its bits are read


def read_safetensors(path: Path) -> tuple[dict[str, str], Tensors]:
    """Metadata and tensors; those in float64, float16 and bfloat16 become float32.

    Raises:
        WeightsError: The file is damaged, above 256 MiB, or holds tensors of another kind.
    """
    metadata = read_metadata(path)
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise WeightsError(f"{path}: {size / 2**20:.0f} MiB; expected at most {MAX_BYTES // 2**20}")
        found = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file: {error}") from error
    return metadata, {name: _as_float32(name, tensor, path) for name, tensor in found}


def read_metadata(path: str | Path) -> dict[str, str]:
    """Metadata of a safetensors file; in ours settings, halo, training commit, data, PSNR and more.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    try:
        with safe_open(path, "np") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file: {error}") from error


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


def _as_float32(name: str, tensor: Mapping[str, Any], path: Path) -> NDArray[np.float32]:
    kind, shape = tensor["dtype"], tuple(tensor["shape"])
    if kind not in _DTYPES:
        raise WeightsError(f"{path}: {name!r} is of {kind}; expected one of {', '.join(_DTYPES)}")
    values = np.ndarray(shape, _DTYPES[kind], bytes(tensor["data"]))
    if kind == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # whoever reads weights refuses what is not finite
        return values.astype(np.float32)
