"""Checkpoint files: ours, the authors', and everything that is neither."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support import filled_network, golden_input, released

import bgai
from bgai.errors import WeightsError
from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI
from bgai.weights.checkpoint import load_network, save_network
from bgai.weights.reading import RELEASED_NAMES
from bgai.weights.safetensors_file import read_metadata


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_ours_come_back_as_they_were(scale: int, tmp_path: Path) -> None:
    network = filled_network(scale)
    save_network(network, tmp_path / "a.safetensors", {"commit": "abc"})
    again = bgai.load_network(tmp_path / "a.safetensors")
    assert again.config == network.config
    assert not again.training
    with torch.inference_mode():
        assert torch.equal(again(golden_input("ragged")), network(golden_input("ragged")))
    assert read_metadata(tmp_path / "a.safetensors")["commit"] == "abc"


def test_settings_of_another_size_come_back(tmp_path: Path) -> None:
    network = BGAI(NetworkConfig(2, channels=16, window=8, groups=1))
    save_network(network, tmp_path / "small.safetensors")
    assert load_network(tmp_path / "small.safetensors").config == network.config


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_authors_give_their_scale(scale: int, shared: Path) -> None:
    path = shared / f"weights/official/BGAI_x{scale}.pth"
    averaged, last = load_network(path), load_network(path, key="params")
    assert averaged.config == NetworkConfig(scale)
    assert not torch.equal(averaged.head.weight, last.head.weight)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_authors_names_come_back(scale: int, tmp_path: Path) -> None:
    network = filled_network(scale)
    other = {name: tensor + 1 for name, tensor in network.state_dict().items()}
    torch.save({"params": released(other), "params_ema": released(network.state_dict())}, tmp_path / "a.pth")
    for key, expected in (("params_ema", network.state_dict()), ("params", other)):
        again = load_network(tmp_path / "a.pth", key)
        assert again.config == NetworkConfig(scale)
        for name, tensor in again.state_dict().items():
            assert torch.equal(tensor, expected[name])


def test_the_authors_names_are_theirs(shared: Path) -> None:
    theirs = torch.load(shared / "weights/official/BGAI_x2.pth", weights_only=True)["params"]
    expected = {name: tensor.shape for name, tensor in theirs.items()}
    found = released(filled_network(2).state_dict())
    assert {name: tensor.shape for name, tensor in found.items()} == expected


def test_every_released_name_is_mapped_to_one_of_ours(shared: Path) -> None:
    names = torch.load(shared / "weights/official/BGAI_x4.pth", weights_only=True)["params"]
    unused = [pattern for pattern, _ in RELEASED_NAMES if not any(pattern_matters(pattern, name) for name in names)]
    assert not unused


def pattern_matters(pattern: str, name: str) -> bool:
    """Whether a rule takes part in translating a name."""
    for rule, replacement in RELEASED_NAMES:
        translated = re.sub(rule, replacement, name)
        if rule == pattern:
            return translated != name
        name = translated
    return False


def weights(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    tensors = {name: tensor.clone() for name, tensor in filled_network(2).state_dict().items()}
    for name, tensor in changes.items():
        name = name.replace("__", ".")
        if tensor is None:
            del tensors[name]
        else:
            tensors[name] = tensor
    return tensors


def cut(path: Path) -> None:
    save_network(filled_network(2), path)
    path.write_bytes(path.read_bytes()[:-1000])


class Payload:
    """What a malicious checkpoint might hold."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return print, ("code was run",)


HUGE = '{"scale": 2, "channels": 1024}'
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing.pth": (lambda path: None, "No such file"),
    "empty.safetensors": (lambda path: path.touch(), "is empty"),
    "page.pth": (lambda path: path.write_text("<!doctype html>"), "not a"),
    "page.safetensors": (lambda path: path.write_text("<!doctype html>"), "not a readable safetensors"),
    "cut.safetensors": (cut, "not a readable safetensors"),
    "code.pth": (lambda path: torch.save({"params_ema": Payload()}, path), "only plain tensors"),
    "list.pth": (lambda path: torch.save([1, 2], path), "expected a dict"),
    "keys.pth": (lambda path: torch.save({"model": 1, "epoch": 2}, path), "found model, epoch"),
    "nested.pth": (lambda path: torch.save({"params_ema": {"a": 1}}, path), "not a dict of tensors"),
    "other.pth": (lambda path: torch.save({"params_ema": {"conv.weight": torch.zeros(3)}}, path), "not a BGAI network"),
    "scale.safetensors": (lambda path: save_file(weights(head__weight=torch.zeros(75, 52, 3, 3)), path), "scale 5"),
    "nan.pth": (
        lambda path: torch.save({"params_ema": released(weights(fuse__bias=torch.full((52,), torch.nan)))}, path),
        "'fuse.bias' holds values that are not finite",
    ),
    "double.pth": (
        lambda path: torch.save(
            {"params_ema": released(weights(fuse__bias=torch.full((52,), 1e300, dtype=torch.float64)))}, path
        ),
        "'fuse.bias' holds values that are not finite",
    ),
    "less.pth": (
        lambda path: torch.save({"params_ema": released(weights(fuse__bias=None))}, path),
        "1 tensors missing, 0 unknown, such as 'fuse.bias'",
    ),
    "groups.safetensors": (
        lambda path: save_file(weights(), path, {"config": '{"scale": 2, "groups": 64, "blocks": 64}'}),
        "not this network",
    ),
    "deep.safetensors": (lambda path: save_file(weights(), path, {"config": "[" * 100_000}), "settings"),
    "less.safetensors": (lambda path: save_file(weights(fuse__bias=None), path), "1 tensors missing"),
    "more.safetensors": (lambda path: save_file(weights(extra=torch.zeros(1)), path), "1 unknown, such as 'extra'"),
    "shape.safetensors": (lambda path: save_file(weights(fuse__bias=torch.zeros(7)), path), r"\(7,\)"),
    "names.pth": (lambda path: torch.save({"params_ema": {1: torch.zeros(1)}}, path), "not a dict of tensors"),
    "flat.pth": (
        lambda path: torch.save({"params_ema": {"upsample.0.0.weight": torch.tensor(1.0)}}, path),
        "not a BGAI",
    ),
    "nan.safetensors": (lambda path: save_file(weights(fuse__bias=torch.full((52,), torch.nan)), path), "not finite"),
    "int.safetensors": (
        lambda path: save_file(weights(fuse__bias=torch.zeros(52, dtype=torch.int32)), path),
        "'fuse.bias' is of I32",
    ),
    "huge.safetensors": (lambda path: save_file(weights(), path, {"config": HUGE}), "has shape"),
    "config.safetensors": (lambda path: save_file(weights(), path, {"config": '{"scale": 2, "depth": 3}'}), "depth"),
    "json.safetensors": (lambda path: save_file(weights(), path, {"config": "{"}), "settings"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_file_is_said_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, message = BROKEN[name]
    make(tmp_path / name)
    with pytest.raises(WeightsError, match=message) as error:
        load_network(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(error.value)
    assert "code was run" not in capsys.readouterr().out
