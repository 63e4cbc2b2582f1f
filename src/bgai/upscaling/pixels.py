"""Enlarges images of any kind with a network for RGB in [0, 1]: ranges, grey, and transparency.

Dimensions: h x w source pixels, s the scale.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bgai.errors import UsageError
from bgai.types import Plane, Tiles
from bgai.upscaling.bounds import LUMA, bound

Image = TypeVar("Image", NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float32])
Enlarge = Callable[[Tiles], Plane]
"""1 x 3 x h x w to 3 x sh x sw, RGB in [0, 1], not clamped."""

_LEVELS = {"uint8": 255, "uint16": 65535, "float32": 1}


def check_image(image: NDArray[Any]) -> None:
    """Refuse an array that is no image.

    Raises:
        UsageError: The array is of another shape, dtype or range.
    """
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (2, 3, 4)) or 0 in image.shape:
        raise UsageError(f"image of shape {image.shape}: expected H x W, or H x W x 2, 3 or 4, none of them 0")
    if image.dtype.name not in _LEVELS:
        raise UsageError(f"image of {image.dtype}: expected uint8, uint16, or float32 in [0, 1]")
    if image.dtype == np.float32 and not (image.min() >= 0 and image.max() <= 1):
        raise UsageError(f"float32 image from {image.min():g} to {image.max():g}: expected values in [0, 1]")


def has_alpha(image: NDArray[Any]) -> bool:
    """Whether the last channel is alpha."""
    return image.ndim == 3 and image.shape[2] in (2, 4)


def enlarge_pixels(image: NDArray[Any], enlarge: Enlarge, scale: int, keep_clear_colours: bool = False) -> NDArray[Any]:
    """Enlarge an image of any kind that `check_image` lets through.

    Args:
        image: h x w, or h x w x 2, 3 or 4.
        enlarge: The network.
        scale: Its s.
        keep_clear_colours: Whether colours are enlarged as if nothing were transparent.

    Returns:
        sh x sw with the same channels and dtype.
    """
    levels = np.float32(_LEVELS[image.dtype.name])
    planes = (image if image.ndim == 3 else image[..., None]).astype(np.float32) / levels
    if keep_clear_colours and has_alpha(image):
        colour = _enlarge_colour(planes[..., :-1], enlarge)
        result = np.concatenate((colour, _enlarge_alpha(planes[..., -1:], enlarge, scale)[0]), axis=2)
    elif has_alpha(image):
        result = _enlarge_transparent(planes[..., :-1], planes[..., -1:], enlarge, scale)
    else:
        result = _enlarge_colour(planes, enlarge)
    np.clip(result, 0, 1, out=result)
    if image.dtype != np.float32:
        result *= levels
        result = np.rint(result, out=result).astype(image.dtype)
    return result if image.ndim == 3 else result[..., 0]


def _enlarge_colour(planes: Plane, enlarge: Enlarge) -> Plane:
    """h x w x 1 or 3, to sh x sw of as many channels."""
    tile = _as_rgb_tile(planes)
    enlarged = enlarge(tile)
    bound(enlarged, tile[0])
    result = enlarged.transpose(1, 2, 0)
    return result if planes.shape[2] == 3 else (result @ LUMA)[..., None]


def _enlarge_transparent(colour: Plane, alpha: Plane, enlarge: Enlarge, scale: int) -> Plane:
    """Colours are weighted with alpha on the way, so that hidden ones do not bleed into visible ones."""
    height, width, channels = (alpha.shape[0] * scale, alpha.shape[1] * scale, colour.shape[2])
    if alpha.max() == 0:
        return np.zeros((height, width, channels + 1), np.float32)
    if alpha.min() == 1:
        return np.concatenate((_enlarge_colour(colour, enlarge), np.ones((height, width, 1), np.float32)), axis=2)
    new_alpha, lowest = _enlarge_alpha(alpha, enlarge, scale)
    new_colour = _enlarge_colour(colour * alpha, enlarge) / np.maximum(new_alpha, 1e-6)
    # At a transparent edge the network overshoots, and the fainter a pixel, the more its colour is rounding:
    # visible colours around it say what it can be.
    bounded = np.clip(new_colour, *_neighbourhood_range(colour, alpha > 0, scale))
    new_colour = np.where(lowest < 1, bounded, new_colour) * (new_alpha > 0)
    return np.concatenate((new_colour, new_alpha), axis=2)


def _enlarge_alpha(alpha: Plane, enlarge: Enlarge, scale: int) -> tuple[Plane, Plane]:
    """h x w x 1 to sh x sw x 1, and the least alpha around each output pixel."""
    # Kept in the range around it, opaque and fully transparent pixels stay so: the network leaves 254 where 255 was.
    lowest, highest = _neighbourhood_range(alpha, alpha > -1, scale)
    return np.clip(_enlarge_colour(alpha, enlarge), lowest, highest), lowest


def _as_rgb_tile(planes: Plane) -> Tiles:
    """h x w x 1 or 3 to 1 x 3 x h x w."""
    return np.array(np.broadcast_to(planes, (*planes.shape[:2], 3)).transpose(2, 0, 1)[None], order="C")


def _neighbourhood_range(plane: Plane, counted: NDArray[np.bool_], scale: int) -> tuple[Plane, Plane]:
    """Least and greatest of the counted ones among the 3 x 3 source pixels around each output pixel.

    h x w x C and h x w x 1 to twice sh x sw x C; 0 and 0 where none is counted.
    """
    edges = []
    for reduce, nothing in ((np.min, np.inf), (np.max, -np.inf)):
        padded = np.pad(np.where(counted, plane, nothing), ((1, 1), (1, 1), (0, 0)), mode="edge")
        edge = reduce(np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1)), axis=(3, 4))
        edges.append(np.where(np.isfinite(edge), edge, 0).repeat(scale, 0).repeat(scale, 1).astype(np.float32))
    return edges[0], edges[1]
