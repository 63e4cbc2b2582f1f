"""Which upscaler is for which picture: by how its file was compressed, and by the size that it is to have."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from bgai.errors import ImageError
from bgai.pictures.compression import Compression, read_compression
from bgai.pictures.jpeg_blocks import earlier_quality
from bgai.pictures.reading import Picture
from bgai.upscaling.recipe import weights_digest
from bgai.upscaling.sizes import STEPS
from bgai.upscaling.steps import SteppedUpscaler
from bgai.upscaling.upscaler import Sharing, Upscaler
from bgai.weights.sources import Weights, find_weights, shipped_scales

WeightsName = str | Path | Weights | None
Open = Callable[[int | None, WeightsName, float | None], Upscaler]
"""Gives an upscaler for `scale`, `weights` and `clean`, which are as for `Upscaler`."""
_EVERY_SCALE = (None, "auto", "bgai", "photo", "official")


class FittingUpscalers:
    """Has for each picture the weights in the package that fit it: `photo` where its file was compressed strongly.

    Args:
        open: Gives the upscaler for the weights of a name; called once for each, for `photo` when first needed.

    Raises:
        BgaiError: What `open` raises.
    """

    def __init__(self, open: Callable[[str], Upscaler]) -> None:
        self._open = open
        self._ready = {"bgai": open("bgai")}
        self.scale = self._ready["bgai"].scale
        self.sharing = Sharing()
        self._choosing = _steps(self.scale)[0] in shipped_scales("photo")

    @property
    def weights(self) -> tuple[Weights, ...]:
        """All that there are to choose from, and those of a second step."""
        first, *later = _steps(self.scale)
        names = ("bgai", "photo") if self._choosing else ("bgai",)
        return (*(find_weights(name, first) for name in names), *(find_weights("bgai", scale) for scale in later))

    def pick(self, source: Path, picture: Picture) -> tuple[Upscaler, str]:
        """The upscaler for a picture, and the reason in words; without one where there is nothing to choose from."""
        if not self._choosing:
            return self._ready["bgai"], ""
        compression = _compression(source, picture)
        name = "photo" if compression.strong else "bgai"
        for other in self._ready.keys() - {name}:
            self._ready[other].engine.rest()  # tiles are planned for the memory that one engine leaves
        if name not in self._ready:
            self._ready[name] = self._open(name)
        return self._ready[name], f"{name} weights: {compression}"

    def rest(self) -> None:
        """Make room for other upscalers."""
        for upscaler in self._ready.values():
            upscaler.engine.rest()

    def release(self) -> None:
        """As for `Upscaler`."""
        for upscaler in self._ready.values():
            upscaler.release()


class UpscalersByScale:
    """Has for each picture the upscaler of the scale that its size needs.

    Args:
        open: Gives what enlarges by one of the scales in `bgai.upscaling.sizes.STEPS`; called once for each.
    """

    def __init__(self, open: Callable[[int], Upscaler | FittingUpscalers]) -> None:
        self.scale = None
        """That it has none of its own, unlike the others."""
        self.sharing = Sharing()
        self._open = open
        self._ready: dict[int, Upscaler | FittingUpscalers] = {}

    def at(self, scale: int) -> Upscaler | FittingUpscalers:
        """What enlarges by a scale.

        Raises:
            BgaiError: What `open` raises.
        """
        for other in self._ready.keys() - {scale}:
            waiting = self._ready[other]
            (waiting if isinstance(waiting, FittingUpscalers) else waiting.engine).rest()
        if scale not in self._ready:
            self._ready[scale] = self._open(scale)
        return self._ready[scale]

    def release(self) -> None:
        """As for `Upscaler`."""
        for upscaler in self._ready.values():
            upscaler.release()


AnyUpscaler = Upscaler | FittingUpscalers | UpscalersByScale


def open_upscalers(
    open: Open,
    scale: int | None,
    weights: WeightsName = "auto",
    clean: float | None = None,
    *,
    sized: bool = False,
    wrap: Callable[[Callable[[], Upscaler]], Upscaler] = lambda opened: opened(),
) -> AnyUpscaler:
    """What enlarges files as arguments of `bgai.upscaling.files.upscale_file` say.

    Args:
        open: Called once for each network.
        scale: As there.
        weights: As there.
        clean: As there.
        sized: Whether each picture gets the scale that its size needs; weights of a file have a scale of their own.
        wrap: Gives the upscaler for pictures from what opens one.

    Raises:
        BgaiError: What `open` raises.
    """

    def at(scale: int | None) -> Upscaler | FittingUpscalers:
        if weights == "auto" and clean is None:
            return FittingUpscalers(lambda name: wrap(partial(_open_steps, open, scale, name, None)))
        return wrap(partial(_open_steps, open, scale, None if weights == "auto" else weights, clean))

    return UpscalersByScale(at) if sized and weights in _EVERY_SCALE else at(scale)


def used_weights(upscaler: AnyUpscaler, scale: int) -> str:
    """The hash that a recipe holds of the weights that make an output.

    Args:
        upscaler: What makes it.
        scale: By how much; matters for `UpscalersByScale` alone.

    Raises:
        WeightsError: A file of them is gone.
    """
    if isinstance(upscaler, UpscalersByScale):
        upscaler = upscaler.at(scale)
    if isinstance(upscaler, FittingUpscalers):
        return weights_digest(*upscaler.weights)
    return weights_digest(upscaler.weights, *upscaler.later)


def _steps(scale: int | None) -> tuple[int | None, ...]:
    return (scale,) if scale is None else STEPS.get(scale, (scale,))


def _open_steps(open: Open, scale: int | None, weights: WeightsName, clean: float | None) -> Upscaler:
    """What compression left is gone after the first step: the second one is for clean pictures."""
    first, *later = _steps(scale)
    upscaler = open(first, weights, clean)
    for scale in later:
        upscaler = SteppedUpscaler(upscaler, open(scale, "official" if weights == "official" else "bgai", None))
    return upscaler


def _compression(source: Path, picture: Picture) -> Compression:
    """Of the file; or that of an earlier JPEG, if its traces are to be seen in what was saved well since."""
    try:
        with source.open("rb") as stream:
            compression = read_compression(stream)
    except OSError as error:
        raise ImageError(f"{source}: cannot be read: {error.strerror or error}") from error
    if not compression.strong and picture.pixels.dtype == np.uint8 and (quality := earlier_quality(picture.pixels)):
        earlier = Compression(f"{compression.format}, once a JPEG", quality=quality)
        return earlier if earlier.strong else compression
    return compression
