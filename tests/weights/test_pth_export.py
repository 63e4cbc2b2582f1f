"""The way back to the original project's checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support import filled_network

from bgai.errors import OutputError
from bgai.types import Tensors
from bgai.weights.pth_export import write_pth
from bgai.weights.reading import read_weights


def tensors_of(scale: int) -> Tensors:
    return {name: tensor.numpy() for name, tensor in filled_network(scale).state_dict().items()}


@pytest.mark.parametrize("key", ["params", "params_ema"])
def test_what_is_written_is_read_again(tmp_path: Path, key: str) -> None:
    tensors = tensors_of(3)
    write_pth(tensors, tmp_path / "x3.pth")
    config, again = read_weights(tmp_path / "x3.pth", key)
    assert config.scale == 3
    assert again.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(again[name], tensor, err_msg=name)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_names_and_shapes_are_the_authors(shared: Path, tmp_path: Path, scale: int) -> None:
    theirs = torch.load(shared / f"weights/official/BGAI_x{scale}.pth", weights_only=True)["params_ema"]
    write_pth(tensors_of(scale), tmp_path / "ours.pth")
    ours = torch.load(tmp_path / "ours.pth", weights_only=True)["params_ema"]
    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: tensor.shape for name, tensor in theirs.items()
    }


def test_a_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_pth(tensors_of(2), tmp_path / "a.pth", overwrite=False)
    assert (tmp_path / "a.pth").read_text() == "mine"
