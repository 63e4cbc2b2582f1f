"""Learning rates against PyTorch's schedulers."""

from __future__ import annotations

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


def test_one_cycle() -> None:
    # PyTorch's cycle ends with its last step, ours with the end of the training.
    expected = pytorchs(
        lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, TOTAL + 1, pct_start=11 / 51, cycle_momentum=False)
    )
    assert ours({"type": "OneCycleLR", "pct_start": 0.2}) == pytest.approx(expected)


def test_warm_up_is_linear() -> None:
    rates = ours({"type": "MultiStepLR", "milestones": [40]}, warmup_iter=10)
    assert rates[:10] == pytest.approx([0.01 * iteration for iteration in range(1, 10)] + [0.1])
