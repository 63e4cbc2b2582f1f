"""Pillow's images in and out."""

from __future__ import annotations

import functools
import io
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.errors import MissingExtraError, UsageError
from bgai.types import PixelProgress
from bgai.upscaling.sizes import TargetSize
from bgai.upscaling.upscaler import Upscaler

try:
    from PIL import Image, ImageCms
except ModuleNotFoundError as error:
    raise MissingExtraError("pil", "bgai.pil") from error

_MODES = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "P": "RGB",
    "PA": "RGBA",
    "RGB": "RGB",
    "RGBX": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "F": "F",
    "I": "I",
    "I;16": "I;16",
    "I;16B": "I;16",
    "I;16L": "I;16",
    "I;16N": "I;16",
}
"""Mode of the result for each mode of a picture without a transparent colour; those of _TO_SRGB become RGB."""
_WITH_ALPHA = {"L": "LA", "RGB": "RGBA"}
_TO_SRGB = ("CMYK", "YCbCr", "LAB", "HSV")


def upscale(
    image: Image.Image,
    scale: int | None = None,
    *,
    upscaler: Upscaler | None = None,
    size: TargetSize | None = None,
    progress: PixelProgress | None = None,
) -> Image.Image:
    """Enlarge an image of Pillow's; of an animation, the frame that it is at.

    Args:
        image: Of any of Pillow's modes. L, LA, RGB and RGBA give the same mode, I;16 and I (0 to 65535) the same with
            16 bits, F the same with values in [0, 1]. 1 gives L; P gives RGB; L and these two with a transparent grey
            or colour give LA and RGBA. CMYK, YCbCr, LAB and HSV give sRGB, by the ICC profile where there is one.
        scale: 2, 3 or 4; 4 if neither this nor `upscaler` is given.
        upscaler: What enlarges, with weights and an engine of its own; None for `Upscaler(scale)`, which is kept
            for the next call.
        size: Of the result, to which the network's output is reduced.
        progress: As for `Upscaler.upscale`.

    Returns:
        A new image with the `info` of the given one: resolution, ICC profile, EXIF with its orientation. What is no
            longer true after a conversion is left out: a transparent colour, and the profile of other colours.

    Raises:
        UsageError: A mode that is not known, values outside 0 to 65535 or [0, 1], or both `scale` and `upscaler`.

    Examples:
        >>> enlarged = upscale(Image.new("LA", (6, 4), (200, 255)), 2)
        >>> enlarged.mode, enlarged.size
        ('LA', (12, 8))
    """
    if upscaler is not None and scale is not None:
        raise UsageError(f"scale {scale}: the upscaler has a scale of its own; leave one of both out")
    source = _convert(image)
    enlarged = (upscaler or _kept_upscaler(scale or 4)).upscale(_pixels(source), progress, size=size)
    result = Image.fromarray(enlarged.astype(np.int32) if source.mode == "I" else enlarged)
    result.info = dict(source.info)
    return result


@functools.lru_cache(3)
def _kept_upscaler(scale: int) -> Upscaler:
    return Upscaler(scale)


def _convert(image: Image.Image) -> Image.Image:
    """The image in the mode of the result."""
    if image.mode in _TO_SRGB:
        return _to_srgb(image)
    mode = _MODES.get(image.mode)
    if mode is None:
        raise UsageError(f"image of mode {image.mode}: expected one of {', '.join((*_MODES, *_TO_SRGB))}")
    if image.has_transparency_data:
        if mode in ("I", "I;16", "F"):
            raise UsageError(f"image of mode {image.mode} with a transparent value: use bgai.upscale_file")
        mode = _WITH_ALPHA.get(mode, mode)
    return image.copy() if image.mode.startswith("I;16") else image.convert(mode)


def _to_srgb(image: Image.Image) -> Image.Image:
    """In sRGB, by the image's profile where it has one that is its mode's."""
    profile = image.info.get("icc_profile")
    converted = None
    with suppress(ImageCms.PyCMSError, OSError):  # a damaged profile, or one of another mode
        if profile:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
            converted = ImageCms.profileToProfile(image, source, srgb, intent, outputMode="RGB")
    converted = converted or image.convert("RGB")
    converted.info.pop("icc_profile", None)
    return converted


def _pixels(image: Image.Image) -> NDArray[Any]:
    """The values of an image in the mode of the result, as `Upscaler` takes them."""
    values = np.asarray(image)
    if not image.mode.startswith("I"):
        return values
    if values.min() < 0 or values.max() > 65535:
        raise UsageError(f"image of mode {image.mode} from {values.min()} to {values.max()}: expected 0 to 65535")
    return values.astype(np.uint16)
