"""The size that an output is to have, whatever the scales of the networks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bgai.errors import UsageError
from bgai.types import Size

STEPS = {2: (2,), 3: (3,), 4: (4,), 6: (2, 3), 8: (2, 4), 9: (3, 3), 12: (3, 4), 16: (4, 4)}
"""Scales of networks, one after the other, by what they enlarge in all. The smaller one comes first: the other order
takes twice as long, and gains 0.03 to 0.05 dB on four images of Set14."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSize:
    """One way to say how large an output is to be; proportions are kept.

    The side that is named comes out as it is named, the other one rounded to the nearest pixel. Where two are named, or
    megapixels, the output is as large as it can be without exceeding any.

    Raises:
        UsageError: No way or several were named, or a number is out of range.

    Examples:
        >>> TargetSize(width=1000).of(300, 400)
        (750, 1000)
        >>> TargetSize(width=1000, height=600).of(300, 400)
        (600, 800)
        >>> TargetSize(factor=1.5).of(33, 40)
        (50, 60)
    """

    factor: float | None = None
    """Times the source's width and height, from 1 to 16."""
    width: int | None = None
    height: int | None = None
    """Together with `width`: a box that the output fits in."""
    long_edge: int | None = None
    """Of the output's width and height the larger one."""
    megapixels: float | None = None

    def __post_init__(self) -> None:
        ways = (self.factor, self.width or self.height, self.long_edge, self.megapixels)
        if sum(way is not None for way in ways) != 1:
            raise UsageError("a size is one of: factor, width or height or both, long_edge, megapixels")
        if self.factor is not None and not 1 <= self.factor <= max(STEPS):
            raise UsageError(f"factor {self.factor:g}: expected 1 to {max(STEPS)}", parameter="factor")
        for name in ("width", "height", "long_edge", "megapixels"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} {value:g}: expected a number above 0", parameter=name)

    def of(self, height: int, width: int) -> Size:
        """Height and width of the output for a source of these.

        Raises:
            UsageError: The source is larger, or more than 16 times smaller.
        """
        ratio = self._ratio(height, width)
        if ratio < 1:
            raise UsageError(f"{width} x {height} is more than the size asked for, {self}: there is nothing to enlarge")
        if ratio > max(STEPS):
            raise UsageError(
                f"{width} x {height} to {self} is {ratio:.1f} times as wide and high: at most {max(STEPS)} times is"
                " possible"
            )
        # Of what may not be exceeded nothing is rounded up.
        half = 0.5 if self.megapixels is None else _ROUNDING
        return math.floor(height * ratio + half), math.floor(width * ratio + half)

    def within(self, source: Size, scale: int) -> Size:
        """As `of`, for a network that enlarges by `scale`.

        Raises:
            UsageError: As for `of`; or the network does not enlarge as much.
        """
        target = self.of(*source)
        if next_scale(source, target) > scale:
            raise UsageError(f"{source[1]} x {source[0]} to {self} is more than ×{scale}: choose a larger scale")
        return target

    def __str__(self) -> str:
        """As a part of names: `x1.5`, `w1920`, `h1080`, `1920x1080`, `edge3840` or `24mp`."""
        if self.factor is not None:
            return f"x{self.factor:g}"
        if self.width is not None and self.height is not None:
            return f"{self.width}x{self.height}"
        for letters, value in (("w", self.width), ("h", self.height), ("edge", self.long_edge)):
            if value is not None:
                return f"{letters}{value}"
        return f"{self.megapixels:g}mp"

    def _ratio(self, height: int, width: int) -> float:
        """How many times as wide and high the output is."""
        if self.factor is not None:
            return self.factor
        if self.long_edge is not None:
            return self.long_edge / max(height, width)
        if self.megapixels is not None:
            return math.sqrt(self.megapixels * 1e6 / (height * width))
        ratios = ((self.width, width), (self.height, height))
        return min(wanted / side for wanted, side in ratios if wanted is not None)


def next_scale(source: Size, target: Size) -> int:
    """The least of `STEPS` by which a source becomes at least as large as a target that `TargetSize.of` gave."""
    for scale in STEPS:
        if source[0] * scale >= target[0] and source[1] * scale >= target[1]:
            break
    return scale


@dataclass(frozen=True, slots=True)
class Enlargement:
    """From one size to another."""

    source: Size
    scale: int
    """Of the networks."""
    target: Size

    @property
    def whole(self) -> Size:
        """What the networks make, which is reduced to the target."""
        return self.source[0] * self.scale, self.source[1] * self.scale


def plan_enlargement(source: Size, scale: int | None, wanted: TargetSize | None) -> Enlargement:
    """Decide how large an output becomes, and by what scale.

    Args:
        source: Height and width of the picture.
        scale: What there is; None for the next scale to the size that is wanted.
        wanted: None for what the scale gives.

    Raises:
        UsageError: The size is out of reach, or there is neither a scale nor a size.
    """
    if wanted is None:
        if scale is None:
            raise UsageError("neither a scale nor a size was given")
        return Enlargement(source, scale, (source[0] * scale, source[1] * scale))
    target = wanted.of(*source) if scale is None else wanted.within(source, scale)
    return Enlargement(source, scale or next_scale(source, target), target)
