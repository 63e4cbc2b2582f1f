"""The depthwise convolution: its own gradients are the ones PyTorch gives."""

from __future__ import annotations

import pytest
import torch

from bgai.network.depthwise import DepthwiseConv2d

SIDES = ((15, 1), (1, 15), (3, 3), (5, 5), (5, 3), (3, 5))


def results(convolution: DepthwiseConv2d, x: torch.Tensor, weights: torch.Tensor) -> list[torch.Tensor]:
    output = convolution(x)
    assert convolution.bias is not None
    return [output, *torch.autograd.grad((output * weights).sum(), (x, convolution.weight, convolution.bias))]


@pytest.mark.parametrize("sides", SIDES, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels-last"])
def test_gradients_are_pytorchs(sides: tuple[int, int], layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    convolution = DepthwiseConv2d(4, *sides).double()
    x = torch.randn(2, 4, 9, 12, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    weights = torch.randn(2, 4, 9, 12, dtype=torch.float64)
    ours, pytorchs = results(convolution.train(), x, weights), results(convolution.eval(), x, weights)
    for found, expected in zip(ours, pytorchs, strict=True):
        torch.testing.assert_close(found, expected)


def test_bfloat16_is_computed_in_float32() -> None:
    convolution = DepthwiseConv2d(4, 1, 15)
    x = torch.randn(2, 4, 9, 12, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        output = convolution(x)
    output.sum().backward()
    assert x.grad is not None
    assert convolution.weight.grad is not None
    assert output.dtype == x.grad.dtype == torch.bfloat16
    torch.testing.assert_close(output, convolution(x.float()).bfloat16(), atol=0, rtol=0)
    assert convolution.weight.grad.dtype == torch.float32
