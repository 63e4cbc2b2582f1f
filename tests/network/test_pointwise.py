"""What is made for training on a CPU: results and gradients are PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bgai.network.pointwise import PointwiseConv2d, join, split


def results(convolution: PointwiseConv2d, x: Tensor) -> list[Tensor]:
    output = convolution(x)
    weights = torch.linspace(-1, 1, output.numel()).view_as(output)
    assert convolution.bias is not None
    return [output, *torch.autograd.grad((output * weights).sum(), (x, convolution.weight, convolution.bias))]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels-last"])
@pytest.mark.parametrize("half", [False, True], ids=["float64", "bfloat16"])
def test_gradients_are_pytorchs(half: bool, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    convolution = PointwiseConv2d(6, 4) if half else PointwiseConv2d(6, 4).double()
    x = torch.randn(2, 6, 9, 12, dtype=convolution.weight.dtype).contiguous(memory_format=layout).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        ours, pytorchs = results(convolution.train(), x), results(convolution.eval(), x)
    atol, rtol = (0.2, 0.02) if half else (1e-9, 1e-9)
    for found, expected in zip(ours, pytorchs, strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, atol=atol, rtol=rtol)


@pytest.mark.parametrize("training", [True, False])
def test_splitting_and_joining_give_the_same_and_its_gradient(training: bool) -> None:
    module = nn.Identity().train(training)
    x = torch.randn(2, 6, 9, 12).contiguous(memory_format=torch.channels_last).requires_grad_()
    weights = torch.randn(2, 6, 9, 12)
    joined = join(module, *split(module, x, 3))
    (gradient,) = torch.autograd.grad((joined * weights).sum(), x)
    torch.testing.assert_close(joined, x, atol=0, rtol=0)
    torch.testing.assert_close(gradient, weights, atol=0, rtol=0)


def test_parts_and_their_gradients_are_channels_last_in_training() -> None:
    module, channels_last = nn.Identity().train(), torch.channels_last
    parts = split(module, torch.randn(2, 6, 9, 12).contiguous(memory_format=channels_last).requires_grad_(), 2)
    assert all(part.is_contiguous(memory_format=channels_last) for part in parts)
    gradients = torch.autograd.grad(join(module, *parts).square().sum(), parts)
    assert all(gradient.is_contiguous(memory_format=channels_last) for gradient in gradients)
