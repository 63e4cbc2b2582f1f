"""The learning rate over a training, as a function of how far it is: nothing to store, nothing to restore."""

from __future__ import annotations

import math

from bgai.options.training import CosineAnnealingLR, MultiStepLR, OneCycleLR, Scheduler


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
        case OneCycleLR(pct_start=rise, div_factor=divisor, final_div_factor=final):
            first = peak / divisor
            if progress < rise:
                return _cosine(first, peak, progress / rise)
            return _cosine(peak, first / final, (progress - rise) / (1 - rise))


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2
