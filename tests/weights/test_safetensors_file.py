"""Safetensors files of every kind of number; what else is wrong with files is in test_checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import filled_network, released

from bgai.errors import WeightsError
from bgai.weights.reading import read_weights


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_other_precisions_become_float32(dtype: torch.dtype, suffix: str, tmp_path: Path) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in filled_network(3).state_dict().items()}
    file = tmp_path / f"a{suffix}"
    if suffix == ".pth":
        torch.save({"params_ema": released(tensors)}, file)
    else:
        save_file(tensors, file)
    config, found = read_weights(file)
    assert config.scale == 3
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], tensor.float().numpy())


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.float8_e4m3fn], ids=str)
def test_numbers_of_other_kinds_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = filled_network(2).state_dict() | {"fuse.bias": torch.zeros(52).to(dtype)}
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"'fuse.bias' is of \w+; expected one of F64, F32, F16, BF16"):
        read_weights(tmp_path / "a.safetensors")


def test_tensors_without_numbers_are_refused(tmp_path: Path) -> None:
    save_file(filled_network(2).state_dict() | {"fuse.bias": torch.zeros(0)}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"has shape \(0,\)"):
        read_weights(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"scale": 4.0}', "scale 4.0: expected a whole number"),
        ('{"scale": "4"}', "scale '4': expected a whole number"),
        ('{"scale": true}', "scale True: expected a whole number"),
        ('{"scale": null}', "scale None: expected a whole number"),
        ('{"scale": 2, "groups": 10000000}', "groups 10000000: expected 1 to 64"),
        ('{"scale": 2, "groups": [4]}', r"groups \[4\]: expected a whole number"),
        ('{"scale": 2, "channels": 1e400}', "channels inf: expected a whole number"),
        ('{"scale": 2, "channels": ' + "9" * 5000 + "}", "settings do not describe a network"),
        ("[1, 2]", "settings do not describe a network"),
        ("7", "settings do not describe a network"),
    ],
)
def test_settings_of_the_wrong_type_are_one_line(config: str, message: str, tmp_path: Path) -> None:
    save_file(filled_network(2).state_dict(), tmp_path / "a.safetensors", {"config": config})
    with pytest.raises(WeightsError, match=message) as error:
        read_weights(tmp_path / "a.safetensors")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_tensors_can_be_written_to(dtype: torch.dtype, suffix: str, tmp_path: Path) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in filled_network(2).state_dict().items()}
    file = tmp_path / f"a{suffix}"
    if suffix == ".pth":
        torch.save({"params_ema": released(tensors)}, file)
    else:
        save_file(tensors, file)
    assert all(tensor.flags.writeable and tensor.flags.c_contiguous for tensor in read_weights(file)[1].values())
