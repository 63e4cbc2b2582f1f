"""The fused kernel of the benchmarks computes what the network computes."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bgai.network.model import BGAI
from bgai.weights.reading import blended_weights
from bgai.weights.sources import find_weights

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("g++") is None, reason="the kernel is compiled by g++, on Linux"
)


@pytest.fixture(scope="module")
def fused_block() -> Any:
    """The module of the benchmarks, which are no package."""
    file = Path(__file__).parents[1] / "benchmarks/fused_block.py"
    spec = importlib.util.spec_from_file_location("fused_block", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class FusedBlock(nn.Module):
    """A block that the kernel computes; the kernel itself keeps the maps."""

    def __init__(self, kernel: Any, group: int, index: int) -> None:
        super().__init__()
        self.kernel, self.place = kernel, (group, index)

    def forward(self, x: Tensor, previous: Sequence[Tensor | None]) -> tuple[Tensor, Sequence[Tensor | None]]:
        features = x.permute(0, 2, 3, 1).contiguous().numpy()
        self.kernel.block(features, features, *self.place)
        return torch.from_numpy(features).permute(0, 3, 1, 2), previous


class NoMLP(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("size", "threads"), [((48, 32), 1), ((41, 57), 2)])
def test_the_network_is_the_same_with_fused_blocks(
    fused_block: Any, size: tuple[int, int], threads: int, whole: bool
) -> None:
    config, tensors = blended_weights(find_weights("bgai", 4))
    network = BGAI(config).eval()
    network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
    if not whole:
        for module in network.modules():
            if hasattr(module, "mlp"):
                module.mlp = NoMLP()
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(image)
        kernel = fused_block.Kernel(tensors, config, size, whole, threads)
        for number, group in enumerate(network.groups):
            group.blocks = nn.ModuleList(FusedBlock(kernel, number, index) for index in range(config.blocks))
        torch.testing.assert_close(network(image), expected, rtol=0, atol=3e-5)
