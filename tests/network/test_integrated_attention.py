"""The window attention that trains on a CPU: results and gradients are those of the plain one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bgai.network import integrated_attention
from bgai.network.model import WindowAttention


def gradients(attention: WindowAttention, x: Tensor, previous: Tensor | None, uses: str) -> list[Tensor | None]:
    """Outputs, and gradients of all that goes in, of a loss that uses the output, the map or both."""
    out, maps = attention(x, previous)
    weights = [torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y) for y in (out, maps)]
    loss = sum(
        (y * w).sum() for y, w, name in zip((out, maps), weights, ("output", "map"), strict=True) if name in uses
    )
    given = [x, *([] if previous is None else [previous]), *attention.parameters()]
    assert isinstance(loss, Tensor)
    return [out, maps, *torch.autograd.grad(loss, given, allow_unused=True)]


@pytest.mark.parametrize("uses", ["output", "map", "output and map"])
@pytest.mark.parametrize("first", [True, False], ids=["first group", "later group"])
@pytest.mark.parametrize("shifted", [False, True], ids=["plain", "shifted"])
@pytest.mark.parametrize("window", [(8, 4), (4, 8)], ids=str)
def test_gradients_are_pytorchs(
    window: tuple[int, int], shifted: bool, first: bool, uses: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrated_attention, "_PORTION_BYTES", 5 * 32 * 32 * 8)  # 5 of the 12 windows
    torch.manual_seed(0)
    attention = WindowAttention(6, window, shifted).double()
    torch.nn.init.constant_(attention.temperature, 0.7)
    x = torch.randn(2, 6, 16, 12 if window == (8, 4) else 8, dtype=torch.float64, requires_grad=True)
    windows = x.numel() // 6 // 32
    previous = None if first else torch.rand(windows, 32, 32, dtype=torch.float64, requires_grad=True)
    ours = gradients(attention.train(), x, previous, uses)
    plain = gradients(attention.eval(), x, previous, uses)
    for found, expected in zip(ours, plain, strict=True):
        if found is None or expected is None:
            assert expected is None or not expected.any()
            assert found is None or not found.any()
        else:
            torch.testing.assert_close(found, expected)


def test_a_map_that_needs_no_gradient_gets_none() -> None:
    attention = WindowAttention(6, (8, 4), shifted=False).train()
    out, _ = attention(torch.randn(1, 6, 8, 8), torch.rand(2, 32, 32))
    out.sum().backward()
    assert attention.temperature.grad is not None


def test_results_and_gradients_are_channels_last() -> None:
    attention = WindowAttention(6, (8, 4), shifted=True).train()
    x = torch.randn(2, 6, 16, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    out, _ = attention(x, None)
    out.backward(torch.randn(2, 6, 16, 8))
    assert x.grad is not None
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert x.grad.is_contiguous(memory_format=torch.channels_last)
