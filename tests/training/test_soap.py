"""The optimizer SOAP."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from bgai.training.soap import Soap


def regression(seed: int = 0) -> tuple[nn.Linear, Tensor, Tensor]:
    """A badly conditioned regression: inputs of sizes from 1 to 1/100, mixed by a rotation."""
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(20, 20, generator=generator))[0]
    x = torch.randn(256, 20, generator=generator) * torch.logspace(0, -2, 20) @ rotation
    y = x @ torch.randn(20, 12, generator=generator)
    torch.manual_seed(seed)
    return nn.Linear(20, 12), x, y


def trained(network: nn.Linear, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, steps: int) -> float:
    loss = torch.zeros(())
    rates = [group["lr"] for group in optimizer.param_groups]
    for step in range(steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - step / steps)
        optimizer.zero_grad()
        loss = (network(x) - y).square().mean()
        torch.autograd.backward(loss)
        optimizer.step()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    return loss.item()


def test_it_goes_faster_than_adam_where_inputs_are_correlated() -> None:
    losses = []
    for kind in (Soap, torch.optim.Adam):
        network, x, y = regression()
        losses.append(trained(network, kind(network.parameters(), lr=3e-2), x, y, 300))
    assert losses[0] < losses[1] / 20


def test_vectors_are_stepped_as_by_adam() -> None:
    ours, theirs = (nn.Parameter(torch.ones(5)) for _ in range(2))
    optimizers = Soap([ours], 1e-2, (0.9, 0.99)), torch.optim.Adam([theirs], 1e-2, (0.9, 0.99))
    for step in range(5):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = torch.arange(5.0) - step
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_matrices_of_one_shape_do_not_influence_each_other() -> None:
    together = [nn.Parameter(torch.full((6, 4), float(k))) for k in range(3)]
    alone = copy.deepcopy(together)
    optimizer, others = Soap(together, 1e-2), [Soap([parameter], 1e-2) for parameter in alone]
    for _ in range(25):
        for parameter, other in zip(together, alone, strict=True):
            parameter.grad = torch.randn(6, 4)
            other.grad = parameter.grad.clone()
        for each in (optimizer, *others):
            each.step()
    for parameter, other in zip(together, alone, strict=True):
        torch.testing.assert_close(parameter, other)


def test_decay_is_apart_from_the_gradient() -> None:
    parameter = nn.Parameter(torch.ones(3, 3))
    parameter.grad = torch.zeros(3, 3)
    Soap([parameter], 0.1, weight_decay=0.5).step()
    torch.testing.assert_close(parameter.detach(), torch.full((3, 3), 0.95))


@pytest.mark.parametrize("stop", [1, 7, 23])
def test_it_goes_on_from_a_state_to_the_bit(stop: int) -> None:
    network, x, y = regression()
    optimizer = Soap(network.parameters(), lr=1e-2)
    trained(network, optimizer, x, y, stop)
    later = copy.deepcopy(network)
    again = Soap(later.parameters(), lr=1e-2)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    trained(network, optimizer, x, y, 20)
    trained(later, again, x, y, 20)
    for one, other in zip(network.parameters(), later.parameters(), strict=True):
        assert torch.equal(one, other)
