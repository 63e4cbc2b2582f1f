"""The learning rate over a training, as a function of how far it is: nothing to store, nothing to restore."""

from __future__ import annotations

import math

from bgai.options.sections import CosineAnnealingLR, MultiStepLR, OneCycleLR, TrainingOptions


def learning_rate(options: TrainingOptions, iteration: int, progress: float) -> float:
    """The rate of an iteration.

    Args:
        iteration: Counted from 1.
        progress: Part of the training that is over, 0 to 1.
    """
    peak = options.optim_g.lr
    if iteration < options.warmup_iter:
        return peak * iteration / options.warmup_iter
    match options.scheduler:
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
