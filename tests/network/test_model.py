"""The network: its numbers, pinned by golden files, and the shapes it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support import filled_network, golden_input

from bgai.errors import UsageError
from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI
from bgai.weights.checkpoint import load_network

GOLDEN = Path(__file__).parent / "golden"
CASES = ("square", "ragged", "tiny", "one", "batch")


@pytest.mark.parametrize(("scale", "count"), [(2, 297_572), (3, 304_607), (4, 314_456)])
def test_parameter_counts_are_the_papers(scale: int, count: int) -> None:
    assert sum(parameter.numel() for parameter in BGAI(NetworkConfig(scale)).parameters()) == count


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_our_golden_outputs(scale: int) -> None:
    network, golden = filled_network(scale), load_file(GOLDEN / f"network_x{scale}.safetensors")
    for case in CASES:
        with torch.inference_mode():
            output = network(golden_input(case))
        torch.testing.assert_close(output, golden[case], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_authors_golden_outputs(scale: int, shared: Path) -> None:
    network = load_network(shared / f"weights/official/BGAI_x{scale}.pth")
    golden = load_file(shared / f"golden/golden_x{scale}.safetensors")
    for case in CASES:
        with torch.inference_mode():
            output = network(golden[f"{case}.input"])
        assert (output - golden[f"{case}.output"]).abs().max() <= 2e-5


def test_the_authors_group_features(shared: Path) -> None:
    network = load_network(shared / "weights/official/BGAI_x4.pth")
    golden = load_file(shared / "golden/golden_x4.safetensors")
    with torch.inference_mode():
        mean = torch.tensor((0.4488, 0.4371, 0.4040)).view(3, 1, 1)
        groups = network.group_features(network.shallow(golden["square.input"] - mean))
    for index, features in enumerate(groups, start=1):
        torch.testing.assert_close(features, golden[f"square.group{index}.features"], atol=1e-4, rtol=1e-5)


def test_the_mean_survives_changes_of_precision_and_device() -> None:
    network = filled_network(4)
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.inference_mode():
        expected = network(golden_input("ragged"))
        network.half().to("cpu").float().load_state_dict(weights)
        torch.testing.assert_close(network(golden_input("ragged")), expected, atol=0, rtol=0)
        assert network.to("meta").mean.device.type == "meta"
    assert "mean" not in weights


def test_half_and_double_precision_run() -> None:
    x = golden_input("ragged")
    network = filled_network(3)
    with torch.inference_mode():
        expected = network(x)
        double = network.double()(x.double())
        assert double.dtype == torch.float64
        torch.testing.assert_close(double.float(), expected, atol=2e-5, rtol=1e-5)
        half = network.half()(x.half())
        assert half.dtype == torch.float16
        torch.testing.assert_close(half.float(), expected, atol=2e-2, rtol=2e-2)


def test_images_of_a_batch_do_not_see_each_other() -> None:
    network, x = filled_network(2), golden_input("batch")
    with torch.inference_mode():
        torch.testing.assert_close(network(x)[1:], network(x[1:]), atol=1e-6, rtol=1e-6)


def test_forward_leaves_the_network_as_it_was() -> None:
    network = filled_network(2)

    def attributes() -> dict[tuple[str, str], int]:
        modules = network.named_modules()
        return {(path, name): id(value) for path, module in modules for name, value in vars(module).items()}

    before = attributes()
    network(golden_input("one"))
    assert len(before) > 10_000
    assert attributes() == before


def test_every_used_parameter_gets_a_gradient() -> None:
    network = filled_network(4)
    network(torch.rand(1, 3, 24, 24)).mean().backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert len(without) == 8
    assert all(name.startswith("groups.0.") and name.endswith("temperature") for name in without)


@pytest.mark.parametrize("side", [(32, 48), (19, 21)], ids=str)
def test_training_on_a_cpu_gives_the_plain_networks_gradients(side: tuple[int, int]) -> None:
    network = filled_network(2).double()
    x = torch.rand(2, 3, *side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gradients = []
    for training in (True, False):
        network.train(training).zero_grad()
        network(x).square().mean().backward()
        gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-6)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scale", 4.0),
        ("groups", "4"),
        ("blocks", True),
        ("groups", 10_000_000),
        ("channels", 4_000_000),
        ("scale", 5),
        ("channels", 50),
        ("window", 12),
        ("groups", 0),
        ("blocks", 0),
        ("mlp_ratio", 0),
    ],
)
def test_a_wrong_setting_is_refused(field: str, value: object) -> None:
    with pytest.raises(UsageError, match=field):
        NetworkConfig(**{"scale": 4, field: value})  # type: ignore[arg-type]


CHANGES = (
    {"channels": 32},
    {"broadcast_channels": 12},
    {"local_channels": 6},
    {"groups": 2},
    {"blocks": 3},
    {"window": 8},
    {"mlp_ratio": 4},
)


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_setting_changes_the_network(change: dict[str, int]) -> None:
    changed = BGAI(NetworkConfig(2, **change))
    assert changed(torch.rand(1, 3, 9, 20)).shape == (1, 3, 18, 40)
    if "window" not in change:
        assert sum(p.numel() for p in changed.parameters()) != 297_572


if __name__ == "__main__":  # writes the golden files
    from safetensors.torch import save_file

    for scale in (2, 3, 4):
        with torch.inference_mode():
            outputs = {case: filled_network(scale)(golden_input(case)) for case in CASES}
        save_file(outputs, GOLDEN / f"network_x{scale}.safetensors")
