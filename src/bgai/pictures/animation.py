"""What makes an animation of several frames: their times, and how each is drawn over the one before."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bgai.types import Pixels, Size

Disposal = Literal["keep", "clear", "restore"]
"""What becomes of a frame before the next one is drawn."""


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


@dataclass(frozen=True, slots=True)
class Part:
    """Where the pixels of a frame lie in the picture, and how they are drawn."""

    left: int
    top: int
    width: int
    height: int
    delay: float
    """Milliseconds."""
    disposal: Disposal
    over: bool
    """Whether what is below shows through transparent pixels; else they replace it."""

    def is_within(self, size: Size) -> bool:
        """Whether it has pixels, none of which lies beside a picture of this height and width."""
        fits = self.left + self.width <= size[1] and self.top + self.height <= size[0]
        return fits and self.width > 0 and self.height > 0


def compose(parts: Sequence[Part], decode: Callable[[int], Pixels], size: Size, channels: int) -> Iterator[Pixels]:
    """Draw frames over each other.

    Args:
        parts: Of each frame.
        decode: Gives the pixels of a frame, h x w x channels or one less, which is alpha.
        size: Height and width of the picture.
        channels: That the picture has.

    Yields:
        The picture at each frame, H x W or H x W x channels; valid until the next one is asked for.
    """
    canvas: Pixels | None = None
    for index, part in enumerate(parts):
        pixels = decode(index)
        if canvas is None:
            canvas = np.zeros((*size, channels), pixels.dtype)
        place = canvas[part.top : part.top + part.height, part.left : part.left + part.width]
        # There is nothing before the first frame that could be restored.
        disposal = "clear" if part.disposal == "restore" and not index else part.disposal
        before = place.copy() if disposal == "restore" else place
        _draw(place, pixels, part.over)
        yield canvas[..., 0] if channels == 1 else canvas
        if disposal == "restore":
            place[:] = before
        elif disposal == "clear":
            place[:] = 0


def _draw(place: Pixels, pixels: Pixels, over: bool) -> None:
    most = np.iinfo(pixels.dtype).max
    if pixels.shape[2] < place.shape[2]:
        place[..., :-1], place[..., -1] = pixels, most
        return
    if not over or pixels.shape[2] in (1, 3):
        place[:] = pixels
        return
    above, below = pixels[..., -1:] / most, place[..., -1:] / most
    alpha = above + below * (1 - above)
    colours = pixels[..., :-1] * above + place[..., :-1] * (below * (1 - above))
    mixed = np.rint(np.concatenate((colours / np.maximum(alpha, 1e-9), alpha * most), axis=2)).astype(pixels.dtype)
    place[:] = np.where(above == 1, pixels, np.where(above == 0, place, mixed))
