"""The learning rate over a training, as a function of how far it is: nothing to store, nothing to restore."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bgai.options.training import CosineAnnealingLR, CosineAnnealingRestartLR, MultiStepLR, OneCycleLR, Scheduler


def learning_rate(scheduler: Scheduler, peak: float, iteration: int, progress: float, warm_up: int = 0) -> float:
    """The rate of an iteration.

    Args:
        scheduler: Its kind and settings.
        peak: The highest rate.
        iteration: Counted from 1.
        progress: Part of the training that is over, 0 to 1.
        warm_up: The iteration at which a linear rise from 0 reaches `peak`; the scheduler applies from there on.
    """
    if iteration < warm_up:
        return peak * iteration / warm_up
    match scheduler:
        case MultiStepLR(milestones=milestones, gamma=gamma):
            # A milestone's own iteration is the last at the old rate.
            return peak * gamma ** sum(iteration > milestone for milestone in milestones)
        case CosineAnnealingLR(eta_min=lowest):
            return _cosine(peak, lowest, progress)
        case CosineAnnealingRestartLR(periods=periods, restart_weights=weights, eta_min=lowest):
            return _restarted(peak, lowest, periods, weights, iteration - 1)
        case OneCycleLR(pct_start=rise, div_factor=divisor, final_div_factor=final):
            first = peak / divisor
            if progress < rise:
                return _cosine(first, peak, progress / rise)
            return _cosine(peak, first / final, (progress - rise) / (1 - rise))


def _restarted(peak: float, lowest: float, periods: Sequence[int], weights: Sequence[float], done: int) -> float:
    """The rate after `done` iterations. Source: BasicSR, where a period's last rate is `lowest`."""
    start = 0
    for period, weight in zip(periods, weights, strict=True):
        if done <= start + period:
            return lowest + weight * (_cosine(peak, lowest, (done - start) / period) - lowest)
        start += period
    return lowest


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2
