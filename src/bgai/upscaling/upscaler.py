"""The one place where an image array becomes an enlarged one: colour, range, transparency and tiling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bgai.engines.selection import Engine, open_engine
from bgai.errors import UsageError
from bgai.mapped import mapped_file
from bgai.network.config import GRID
from bgai.types import PixelProgress, Plane
from bgai.upscaling.bounds import LUMA, bound
from bgai.upscaling.tiling import Span, check_sizes, plan_spans, plan_tiles
from bgai.weights.sources import Weights, find_weights

Image = TypeVar("Image", NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float32])

# What the process may take on a CPU, and what of it goes to the interpreter and the libraries; on a GPU what tiles may.
_PROCESS_BOUND = 2**30
_PROCESS_BASE = 280 * 2**20
_TRANSPARENCY_BYTES = 80  # for each pixel of an enlarged tile, what weighting and bounding take
_GPU_BOUND = 3 * 2**30
_MEMORY_SHARE = 0.5  # of what is free
_LEVELS = {"uint8": 255, "uint16": 65535, "float32": 1}


class Upscaler:
    """Enlarges images by the scale of its weights; holds one engine, ready to run.

    Args:
        scale: 2, 3 or 4; None takes the scale of the weights' file, or 4.
        weights: None or `bgai` for those in the package, `photo` for those in the package that were trained on
            compressed and noisy pictures, `official` for the authors' (downloaded once), or a file. An array does not
            say how it was compressed, so that nothing is chosen for it as `bgai upscale` does for files.
        engine: `auto`, `openvino` or `torch`.
        device: `auto`, `cpu`, `cuda`, `mps`, …
        tile: Longest side of a tile in low-resolution pixels, halo included: a multiple of 16; 0 for the whole image
            at once. None chooses from the free memory.
        halo: Pixels cut off where tiles meet, a multiple of 8. None takes what keeps 8-bit results equal to the whole
            image's in all but one sample in ten thousand, which depends on the weights.
        precision: `float32`; or `half`, faster and not quite as exact: float16 on CUDA, bfloat16 on CPUs that compute
            in it.
        clean: How much compression and noise are removed: from 0, the weights `bgai`, to 1, `photo`; not together with
            `weights`.
        compile: On CUDA, compile for each size of tile first, which takes minutes: for many or large images.

    Raises:
        UsageError: An argument is outside its range, or the weights have another scale.
        WeightsError: The weights cannot be had.
        EngineError: The engine cannot run here.

    Example:
        >>> Upscaler(scale=4).upscale(np.zeros((8, 10, 3), np.uint8)).shape
        (32, 40, 3)
    """

    def __init__(
        self,
        scale: int | None = None,
        weights: str | Path | Weights | None = None,
        engine: str = "auto",
        device: str = "auto",
        *,
        tile: int | None = None,
        halo: int | None = None,
        precision: str = "float32",
        compile: bool = False,
        clean: float | None = None,
    ) -> None:
        self.weights = find_weights(weights, scale, clean)
        self.halo = self.weights.halo if halo is None else halo
        check_sizes(tile or 2 * self.halo + GRID, self.halo)
        self.engine: Engine = open_engine(self.weights, engine, device, precision, compile)
        self.scale = self.engine.scale
        if scale is not None and scale != self.scale:
            raise UsageError(f"{self.weights.name} enlarges ×{self.scale}; leave the scale out or choose other weights")
        self._tile = tile

    def upscale(self, image: Image, progress: PixelProgress | None = None) -> Image:
        """Enlarge an image.

        Args:
            image: H x W (grey), H x W x 2 (grey, alpha), H x W x 3 (RGB) or H x W x 4 (RGB, alpha), alpha not
                premultiplied; uint8, uint16, or float32 in [0, 1].
            progress: Called after each tile with the output pixels done and those in all.

        Returns:
            sH x sW with the same channels and dtype.

        Raises:
            UsageError: The array is of another shape, dtype or range.
        """
        _check_image(image)
        height, width = image.shape[:2]
        enlarged = np.empty((height * self.scale, width * self.scale, *image.shape[2:]), image.dtype)
        top = 0
        for strip in self.strips(image, progress):
            enlarged[top : top + len(strip)] = strip
            top += len(strip)
        return enlarged

    def strips(self, image: Image, progress: PixelProgress | None = None) -> Iterator[Image]:
        """The rows of `upscale(image)` from the top, a few hundred at a time: what a file of any size needs."""
        _check_image(image)
        width = image.shape[1]
        rows, columns = self.prepare(image)
        done, total = 0, image.shape[0] * width * self.scale**2
        for down in rows:
            kept = (down.keep_stop - down.keep_start) * self.scale
            strip = np.empty((kept, width * self.scale, *image.shape[2:]), image.dtype)
            for across in columns:
                part = self._enlarge_tile(image[down.start : down.stop, across.start : across.stop])
                place = slice(across.keep_start * self.scale, across.keep_stop * self.scale)
                strip[:, place] = part[self._keep(down), self._keep(across)]
                done += kept * (across.keep_stop - across.keep_start) * self.scale
                if progress:
                    progress(done, total)
            yield strip
        self.engine.release()  # what is made of the strips now may take its place

    def prepare(self, image: Image) -> tuple[list[Span], list[Span]]:
        """Plan the tiles of an image, and have the engine get ready for them."""
        rows, columns = self.plan(image)
        self.engine.prepare((rows[0].length, columns[0].length), len(rows) * len(columns))
        return rows, columns

    def plan(self, image: Image) -> tuple[list[Span], list[Span]]:
        """The tiles that an image is cut into: rows and columns of them."""
        height, width = image.shape[:2]
        if self._tile == 0:
            return [Span(0, height, 0, height)], [Span(0, width, 0, width)]
        if self._tile:
            return plan_spans(height, self._tile, self.halo), plan_spans(width, self._tile, self.halo)
        memory = self.engine.free_memory() * _MEMORY_SHARE
        if self.engine.device != "cpu":
            return plan_tiles(height, width, int(min(memory, _GPU_BOUND) / self.engine.bytes_per_pixel), self.halo)
        mapped = mapped_file(image) is not None
        memory = min(memory, _PROCESS_BOUND - _PROCESS_BASE - (0 if mapped else image.nbytes))
        # Of output, for each row of input; and that itself, if reading it is what brings it into memory.
        strip_row = image[0].nbytes * (self.scale**2 + mapped)
        alpha = image.ndim == 3 and image.shape[2] in (2, 4)
        each = self.engine.bytes_per_pixel + alpha * _TRANSPARENCY_BYTES * self.scale**2
        pixels, pixels_per_row = (size / each for size in (memory, strip_row))
        return plan_tiles(height, width, int(pixels), self.halo, pixels_per_row)

    def _keep(self, span: Span) -> slice:
        return slice((span.keep_start - span.start) * self.scale, (span.keep_stop - span.start) * self.scale)

    def _enlarge_tile(self, tile: NDArray[Any]) -> NDArray[Any]:
        levels = np.float32(_LEVELS[tile.dtype.name])
        planes = (tile if tile.ndim == 3 else tile[..., None]).astype(np.float32) / levels
        if planes.shape[2] in (1, 3):
            result = self._enlarge_colour(planes)
        else:
            result = self._enlarge_transparent(planes[..., :-1], planes[..., -1:])
        np.clip(result, 0, 1, out=result)
        if tile.dtype != np.float32:
            result *= levels
            result = np.rint(result, out=result).astype(tile.dtype)
        return result if tile.ndim == 3 else result[..., 0]

    def _enlarge_colour(self, planes: Plane) -> Plane:
        """h x w x 1 or 3, to sh x sw of as many channels."""
        tile = _as_rgb_tile(planes)
        enlarged = self.engine(tile)[0]
        bound(enlarged, tile[0])
        return self._from_rgb(enlarged, planes.shape[2])

    def _enlarge_transparent(self, colour: Plane, alpha: Plane) -> Plane:
        """Colours are weighted with alpha on the way, so that hidden ones do not bleed into visible ones."""
        height, width, channels = (alpha.shape[0] * self.scale, alpha.shape[1] * self.scale, colour.shape[2])
        if alpha.max() == 0:
            return np.zeros((height, width, channels + 1), np.float32)
        if alpha.min() == 1:
            return np.concatenate((self._enlarge_colour(colour), np.ones((height, width, 1), np.float32)), axis=2)
        # Kept in the range around it, opaque stays opaque and clear stays clear: the network leaves 254 where 255 was.
        lowest, highest = _neighbourhood_range(alpha, alpha > -1, self.scale)
        new_alpha = np.clip(self._enlarge_colour(alpha), lowest, highest)
        new_colour = self._enlarge_colour(colour * alpha) / np.maximum(new_alpha, 1e-6)
        # At a transparent edge the network overshoots, and the fainter a pixel, the more its colour is rounding:
        # visible colours around it say what it can be.
        bounded = np.clip(new_colour, *_neighbourhood_range(colour, alpha > 0, self.scale))
        new_colour = np.where(lowest < 1, bounded, new_colour) * (new_alpha > 0)
        return np.concatenate((new_colour, new_alpha), axis=2)

    @staticmethod
    def _from_rgb(result: Plane, channels: int) -> Plane:
        planes = result.transpose(1, 2, 0)
        return planes if channels == 3 else (planes @ LUMA)[..., None]


def _as_rgb_tile(planes: Plane) -> Plane:
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


def _check_image(image: NDArray[Any]) -> None:
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (2, 3, 4)) or 0 in image.shape:
        raise UsageError(f"image of shape {image.shape}: expected H x W, or H x W x 2, 3 or 4, none of them 0")
    if image.dtype.name not in _LEVELS:
        raise UsageError(f"image of {image.dtype}: expected uint8, uint16, or float32 in [0, 1]")
    if image.dtype == np.float32 and not (image.min() >= 0 and image.max() <= 1):
        raise UsageError(f"float32 image from {image.min():g} to {image.max():g}: expected values in [0, 1]")
