"""Attentions without stored maps: the same network, in results, gradients and names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import filled_network
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bgai.network.config import NetworkConfig
from bgai.network.fused_attention import fuse
from bgai.network.model import BGAI
from bgai.weights.checkpoint import load_network
from bgai.weights.sources import find_weights, shipped_scales

SMALL: dict[str, Any] = {"channels": 16, "broadcast_channels": 8, "local_channels": 6}
on_cuda = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def pair(**shape: Any) -> tuple[BGAI, BGAI]:
    """A network, and its equal without stored maps; earlier maps count differently in each of its attentions."""
    torch.manual_seed(0)
    networks = BGAI(NetworkConfig(2, **shape)), fuse(BGAI(NetworkConfig(2, **shape)))
    with torch.no_grad():
        for name, parameter in networks[0].named_parameters():
            if name.endswith("temperature"):
                parameter.uniform_(-1, 1)
    networks[1].load_state_dict(networks[0].state_dict())
    return networks


@pytest.mark.parametrize("scale", shipped_scales())
@pytest.mark.parametrize("shape", [(1, 3, 32, 48), (2, 3, 21, 37), (1, 3, 1, 1), (1, 3, 5, 70)])
def test_shipped_weights_give_the_same(scale: int, shape: tuple[int, ...]) -> None:
    file = find_weights(None, scale).file
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = load_network(file)(x)
        for layout in (torch.contiguous_format, torch.channels_last):
            output = fuse(load_network(file))(x.contiguous(memory_format=layout))
            torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "shape", [{"window": 8, "blocks": 3}, {"groups": 1}, {"groups": 3, "local_channels": 8}], ids=str
)
def test_networks_of_other_shapes_give_the_same(shape: dict[str, int]) -> None:
    network, fused = pair(**{**SMALL, **shape})
    x = torch.rand(1, 3, 19, 37)
    with torch.inference_mode():
        torch.testing.assert_close(fused(x), network(x), atol=1e-5, rtol=0)


def test_gradients_are_the_same() -> None:
    networks = pair()
    x = torch.rand(2, 3, 20, 33)
    for network in networks:
        network(x).square().mean().backward()
    for (name, parameter), (_, other) in zip(*(network.named_parameters() for network in networks), strict=True):
        if parameter.grad is None:
            assert other.grad is None, name
        else:
            torch.testing.assert_close(other.grad, parameter.grad, atol=1e-6, rtol=1e-4, msg=name)


def test_parameters_stay_what_they_are() -> None:
    network = filled_network(2)
    before = network.state_dict(keep_vars=True)
    after = fuse(network).state_dict(keep_vars=True)
    assert list(before) == list(after)
    assert all(before[name] is after[name] for name in before)
    fuse(network)  # once more changes nothing
    assert list(network.state_dict()) == list(before)


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees the largest tensor that comes out of any operator."""

    numbers = 0

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = operator(*args, **(kwargs or {}))
        self.numbers = max(self.numbers, *(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor)), 0)
        return out


@pytest.mark.parametrize("gradients", [False, True])
def test_no_map_is_formed(gradients: bool) -> None:
    x = torch.rand(1, 3, 64, 64)
    numbers = []
    for network in pair():
        with torch.set_grad_enabled(gradients), Largest() as largest:  # type: ignore[no-untyped-call]
            network(x)
        numbers.append(largest.numbers)
    assert numbers == [64 * 64 * 256, 64 * 64 * 4 * 52]  # the maps of 16 x 16 windows, and all groups' outputs


def test_autocasting_to_bfloat16() -> None:
    network, fused = pair(**SMALL)
    x = torch.rand(1, 3, 20, 33)
    with torch.autocast("cpu", torch.bfloat16):
        output = fused.train()(x)
    torch.testing.assert_close(output.float(), network(x), atol=5e-2, rtol=5e-2)
    output.float().mean().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in fused.parameters())


def test_it_compiles_as_one_graph() -> None:
    network, fused = pair(**SMALL, groups=2)
    compiled = torch.compile(fused.eval(), backend="eager", fullgraph=True, dynamic=False)
    x = torch.rand(1, 3, 20, 33)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(x), network(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        pytest.param(torch.float32, 1e-4, marks=on_cuda),
        pytest.param(torch.float16, 2e-2, marks=on_cuda),
    ],
)
def test_kernels_of_cuda_take_it_all(dtype: torch.dtype, tolerance: float) -> None:
    """None falls back to PyTorch's own products, which form the maps."""
    network, fused = (one.cuda() for one in pair())
    x = torch.rand(2, 3, 72, 90, device="cuda")
    fusing = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        expected = network(x)
        expected.square().mean().backward()
        with sdpa_kernel(fusing), torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            output = fused(x)
            output.float().square().mean().backward()
        with sdpa_kernel(fusing), torch.inference_mode():
            fused.to(dtype)(x.to(dtype).contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(output.float(), expected, atol=tolerance, rtol=tolerance)
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in fused.parameters())
