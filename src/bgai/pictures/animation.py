"""What makes an animation of several frames."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Animation:
    """How the frames of an animation follow each other."""

    delays: tuple[float, ...]
    """Milliseconds that each frame is shown."""
    plays: int
    """How often all of them are shown; 0 for ever."""

    @property
    def count(self) -> int:
        """Of frames."""
        return len(self.delays)


def rounded_delays(delays: Sequence[float], step: int) -> list[int]:
    """Milliseconds as multiples of a step, such that no frame appears more than half a step too early or too late.

    Examples:
        >>> rounded_delays([33.3, 33.3, 33.3], 10)
        [30, 40, 30]
    """
    ends = [0]
    total = 0.0
    for delay in delays:
        total += delay
        ends.append(round(total / step) * step)
    return [end - start for start, end in itertools.pairwise(ends)]
