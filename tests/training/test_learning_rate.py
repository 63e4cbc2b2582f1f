"""Learning rates against PyTorch's schedulers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from bgai.options.training import TrainingOptions
from bgai.training.learning_rate import learning_rate

TOTAL = 50


def ours(scheduler: dict[str, Any], **more: Any) -> list[float]:
    options = TrainingOptions.model_validate(
        {"optim_g": {"lr": 0.1}, "scheduler": scheduler, "total_iter": TOTAL, **more}
    )
    return [
        learning_rate(options.scheduler, options.optim_g.lr, iteration + 1, iteration / TOTAL, options.warmup_iter)
        for iteration in range(TOTAL)
    ]


def pytorchs(scheduler: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = scheduler(optimizer)
    rates = []
    for _ in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_multi_step() -> None:
    expected = pytorchs(lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [20, 30, 30], 0.5))
    rates = ours({"type": "MultiStepLR", "milestones": [20, 30, 30], "gamma": 0.5})
    assert rates == pytest.approx(expected)
    assert rates[19] == 0.1  # the twentieth iteration is the last at the first rate
    assert rates[20] == 0.05


def test_cosine() -> None:
    expected = pytorchs(lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, TOTAL, 0.01))
    assert ours({"type": "CosineAnnealingLR", "eta_min": 0.01}) == pytest.approx(expected)


def test_cosine_with_restarts() -> None:
    """Against the formula of BasicSR's `CosineAnnealingRestartLR`."""
    periods, weights, lowest = [20, 30], [1, 0.5], 0.01
    expected = []
    for done in range(TOTAL):
        index = 0 if done <= 20 else 1
        start = 20 * index
        cosine = 1 + math.cos(math.pi * (done - start) / periods[index])
        expected.append(lowest + weights[index] * 0.5 * (0.1 - lowest) * cosine)
    scheduler = {"type": "CosineAnnealingRestartLR", "periods": periods, "restart_weights": weights}
    rates = ours({**scheduler, "eta_min": lowest})
    assert rates == pytest.approx(expected)
    assert rates[20] == pytest.approx(lowest)
    assert rates[21] > 0.05


@pytest.mark.parametrize(
    ("scheduler", "more", "message"),
    [
        ({"periods": [20, 29], "restart_weights": [1, 1]}, {}, "the periods end after 49 iterations; expected 50"),
        ({"periods": [50], "restart_weights": [1, 1]}, {}, "as many restart_weights as periods; found 2 and 1"),
        ({"periods": [50]}, {"total_iter": None, "minutes": 5}, "with 'minutes' expected the scheduler"),
    ],
)
def test_restarts_have_to_cover_the_training(scheduler: dict[str, Any], more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ours({"type": "CosineAnnealingRestartLR", **scheduler}, **more)


def test_one_cycle() -> None:
    # PyTorch's cycle ends with its last step, ours with the end of the training.
    expected = pytorchs(
        lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, TOTAL + 1, pct_start=11 / 51, cycle_momentum=False)
    )
    assert ours({"type": "OneCycleLR", "pct_start": 0.2}) == pytest.approx(expected)


def test_warm_up_is_linear() -> None:
    rates = ours({"type": "MultiStepLR", "milestones": [40]}, warmup_iter=10)
    assert rates[:10] == pytest.approx([0.01 * iteration for iteration in range(1, 10)] + [0.1])
