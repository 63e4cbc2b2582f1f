"""The network in spandrel's own loader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import filled_network, golden_input

from bgai.errors import WeightsError
from bgai.integrations.spandrel import install
from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI
from bgai.weights.checkpoint import load_network, save_network
from bgai.weights.pth_export import write_pth
from bgai.weights.sources import SHIPPED

spandrel = pytest.importorskip("spandrel")


@pytest.fixture
def registry() -> Any:
    """All of spandrel's networks, and ours behind them."""
    registry = spandrel.MAIN_REGISTRY.copy()
    install(registry)
    return registry


def save_pth(network: BGAI, path: Path) -> None:
    write_pth({name: tensor.numpy() for name, tensor in network.state_dict().items()}, path)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("suffix", "save"), [("safetensors", save_network), ("pth", save_pth)])
def test_a_file_is_detected_and_gives_what_the_network_does(
    registry: Any, tmp_path: Path, scale: int, suffix: str, save: Callable[[BGAI, Path], None]
) -> None:
    network = filled_network(scale)
    file = tmp_path / f"a.{suffix}"
    save(network, file)
    model = spandrel.ModelLoader(registry=registry).load_from_file(file)
    assert (model.architecture.id, model.scale, model.purpose) == ("BGAI", scale, "SR")
    assert (model.input_channels, model.output_channels) == (3, 3)
    for case in ("square", "ragged", "tiny", "one"):
        with torch.inference_mode():
            expected = network(golden_input(case)).clamp(0, 1)
        torch.testing.assert_close(model(golden_input(case)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_authors_files_are_detected(registry: Any, shared: Path, scale: int) -> None:
    file = shared / f"weights/official/BGAI_x{scale}.pth"
    model = spandrel.ModelLoader(registry=registry).load_from_file(file)
    assert (model.architecture.id, model.scale) == ("BGAI", scale)
    with torch.inference_mode():
        expected = load_network(file)(golden_input("ragged")).clamp(0, 1)
    torch.testing.assert_close(model(golden_input("ragged")), expected, rtol=0, atol=1e-6)


def test_the_main_registry_is_the_default_and_a_second_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spandrel, "MAIN_REGISTRY", spandrel.ArchRegistry())
    install()
    install()
    assert len(spandrel.MAIN_REGISTRY) == 1
    assert "BGAI" in spandrel.MAIN_REGISTRY


def test_other_networks_are_still_theirs(registry: Any) -> None:
    other = {"body.0.weight": torch.zeros(3, 3, 3, 3), "shallow.weight": torch.zeros(52, 3, 3, 3)}
    with pytest.raises(spandrel.UnsupportedModelError):
        registry.load(other)


def test_settings_are_read_from_shapes(registry: Any) -> None:
    config = NetworkConfig(3, channels=16, broadcast_channels=8, local_channels=4, groups=3, blocks=1, mlp_ratio=4)
    model = registry.load(BGAI(config).state_dict())
    assert model.model.config == config
    assert model.tags == ["16dim", "3x1 blocks"]
    assert model.size_requirements.none


def test_float16_is_close_and_bfloat16_is_refused(registry: Any) -> None:
    network = load_network(SHIPPED / "bgai_x4.safetensors")
    model = registry.load(network.state_dict()).half()
    with torch.inference_mode():
        expected = network(golden_input("square")).clamp(0, 1)
    torch.testing.assert_close(model(golden_input("square").half()).float(), expected, rtol=0, atol=5 / 255)
    assert model.dtype == torch.float16
    with pytest.raises(spandrel.UnsupportedDtypeError):
        model.bfloat16()


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("head.weight"),
        lambda state: state.update({"head.weight": torch.zeros(75, 52, 3, 3)}),
        lambda state: state.update({"shallow.bias": torch.zeros(3)}),
        lambda state: state.update({"more": torch.zeros(3)}),
    ],
)
def test_what_is_not_the_network_is_one_clear_error(registry: Any, change: Callable[[dict[str, Any]], None]) -> None:
    state = filled_network(2).state_dict()
    change(state)
    with pytest.raises(WeightsError, match=r"^not the tensors of a BGAI network: [^\n]+$"):
        registry.load(state)
