"""Weights of any file as a safetensors file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support import filled_network, released

from bgai.errors import OutputError, UsageError
from bgai.weights.conversion import convert_weights
from bgai.weights.reading import read_weights
from bgai.weights.safetensors_file import read_metadata
from bgai.weights.sources import DEFAULT_HALO, Weights, find_weights


def test_what_a_file_says_is_kept(tmp_path: Path) -> None:
    shipped = find_weights("photo", 3)
    convert_weights(shipped, tmp_path / "a.safetensors")
    assert read_metadata(tmp_path / "a.safetensors") == read_metadata(shipped.file)
    assert find_weights(tmp_path / "a.safetensors").halo == shipped.halo
    for name, tensor in read_weights(shipped.file)[1].items():
        np.testing.assert_array_equal(read_weights(tmp_path / "a.safetensors")[1][name], tensor)
    with pytest.raises(OutputError, match="exists already"):
        convert_weights(shipped, tmp_path / "a.safetensors")
    convert_weights(shipped, tmp_path / "a.safetensors", overwrite=True)


def test_a_checkpoint_gets_its_halo(tmp_path: Path) -> None:
    torch.save({"params_ema": released(filled_network(2).state_dict())}, tmp_path / "a.pth")
    convert_weights(find_weights(tmp_path / "a.pth"), tmp_path / "b.safetensors")
    assert read_metadata(tmp_path / "b.safetensors")["halo"] == str(DEFAULT_HALO)


def test_a_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.onnx: a graph"):
        convert_weights(Weights("a.onnx", tmp_path / "a.onnx"), tmp_path / "b.safetensors")
