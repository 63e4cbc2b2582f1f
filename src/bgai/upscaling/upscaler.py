"""Enlarges image arrays: brings together weights, an engine and tiles."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.engines.base import Engine, Rgb8Engine
from bgai.engines.selection import open_engine
from bgai.errors import EngineError, UsageError
from bgai.network.config import GRID
from bgai.types import EngineName, PixelProgress, Plane, Precision, Size, Tiles
from bgai.upscaling.bounds import SMALL
from bgai.upscaling.memory_plan import check_memory, plan_for_memory
from bgai.upscaling.pixels import Image, check_image, enlarge_pixels, has_alpha
from bgai.upscaling.reduction import reduce_strips
from bgai.upscaling.sizes import TargetSize
from bgai.upscaling.tiling import Span, check_sizes, plan_spans
from bgai.weights.reading import blended_weights
from bgai.weights.sources import Weights, find_weights


@dataclass
class Sharing:
    """How pictures that are enlarged at the same time share what enlarges them."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    """Held by the one picture whose tiles are enlarged, so that another size does not take their memory."""
    keeps_memory: bool = False
    """Whether an engine keeps its working memory after a picture, for the next one."""


class Upscaler:
    """Enlarges images by the scale of its weights; holds one engine, ready to run.

    Threads may share an `Upscaler`, or have one each: tiles run one after the other, each on all cores. Processes that
    were started anew (`spawn`, `forkserver`) may have one each too. A process that was forked after OpenVINO had
    enlarged something gets an `EngineError`: a fork does not copy OpenVINO's threads. The same image gives the same
    result whatever was enlarged before, as long as there is memory for the same tiles.

    Args:
        scale: 2, 3 or 4; None takes the scale of the weights' file, or 4.
        weights: None or `bgai` for those in the package, `photo` for those in the package that were trained on
            compressed and noisy pictures, `official` for the authors' (downloaded once), or a file. An array does not
            say how it was compressed, so that nothing is chosen for it as `bgai upscale` does for files.
        engine: `auto`, `openvino`, `native`, `torch` or `onnxruntime`.
        device: `auto`, `cpu`; PyTorch's `cuda`, `cuda:1`, `mps`, …; OpenVINO's `gpu`, `npu`; ONNX Runtime's
            `dml`, `coreml`.
        tile: Longest side of a tile in low-resolution pixels, halo included: a multiple of 16; 0 for the whole image
            at once. None chooses by `memory`.
        halo: Pixels cut off where tiles meet, a multiple of 8. None takes the halo of the weights, with which
            8-bit results equal those of the whole image in all but one sample in ten thousand.
        precision: `float32`; or `half`, faster and not quite as exact: float16 on CUDA; with the engine native what
            is kept longest in float16, off by at most one level of 255; with openvino bfloat16, on CPUs that have it.
        clean: How much compression and noise are removed: from 0, the weights `bgai`, to 1, `photo`; not together with
            `weights`.
        compile: On CUDA, compile for each size of tile first, which takes minutes: for many or large images.
        memory: Bytes that the process may take on a CPU while it enlarges, the image included but not what `upscale`
            returns, or tiles on a GPU; more than 280 MiB. None takes up to a quarter of the machine's memory, and no
            more than is of use, some 5.5 GiB. Where half of what is free is less, tiles get smaller.

    Raises:
        UsageError: An argument is outside its range, or the weights have another scale.
        WeightsError: The weights cannot be had.
        EngineError: The engine cannot run here.

    Examples:
        >>> Upscaler(scale=4).upscale(np.zeros((8, 10, 3), np.uint8)).shape
        (32, 40, 3)
    """

    def __init__(
        self,
        scale: int | None = None,
        weights: str | Path | Weights | None = None,
        engine: EngineName = "auto",
        device: str = "auto",
        *,
        tile: int | None = None,
        halo: int | None = None,
        precision: Precision = "float32",
        compile: bool = False,
        clean: float | None = None,
        memory: int | None = None,
    ) -> None:
        check_memory(memory)
        self.weights = find_weights(weights, scale, clean)
        self.halo = self.weights.halo if halo is None else halo
        check_sizes(tile or 2 * self.halo + GRID, self.halo)
        network = None if self.weights.is_graph else blended_weights(self.weights)
        self.network = network and network[0]
        """Settings of the network; None for a graph, which does not say them."""
        self.engine: Engine = open_engine(self.weights, engine, device, precision, compile, network)
        self.scale = self.engine.scale
        if scale is not None and scale != self.scale:
            raise UsageError(f"{self.weights.name} enlarges ×{self.scale}; leave the scale out or choose other weights")
        self.later: tuple[Weights, ...] = ()
        """Those of networks that follow on the one of `weights`."""
        self.sharing = Sharing()
        self._tile = tile
        self._memory = memory

    def upscale(
        self,
        image: Image,
        progress: PixelProgress | None = None,
        *,
        size: TargetSize | None = None,
        keep_clear_colours: bool = False,
    ) -> Image:
        """Enlarge an image.

        Args:
            image: H x W (grey), H x W x 2 (grey, alpha), H x W x 3 (RGB) or H x W x 4 (RGB, alpha), alpha not
                premultiplied; uint8, uint16, or float32 in [0, 1].
            progress: Called after each tile with the network's output pixels done and those in all.
            size: Of the result, up to sH x sW, to which the network's output is reduced; None for all of it.
            keep_clear_colours: Whether colours are enlarged as if nothing were transparent, as textures of games need;
                otherwise those of transparent pixels, which nobody sees, do not count and become black.

        Returns:
            sH x sW, or as `size` says, with the same channels and dtype.

        Raises:
            UsageError: The array is of another shape, dtype or range, or `size` is out of reach.
        """
        check_image(image)
        height, width = image.shape[:2]
        whole = height * self.scale, width * self.scale
        target: Size = size.within((height, width), self.scale) if size else whole
        strips = self.strips(image, progress, keep_clear_colours=keep_clear_colours)
        enlarged = np.empty((*target, *image.shape[2:]), image.dtype)
        top = 0
        for strip in reduce_strips(strips, whole, target):
            enlarged[top : top + len(strip)] = strip
            top += len(strip)
        return enlarged

    def strips(
        self,
        image: Image,
        progress: PixelProgress | None = None,
        after_last: Callable[[], None] | None = None,
        *,
        keep_clear_colours: bool = False,
    ) -> Generator[Image, None, None]:
        """Yield the rows of `upscale(image)` from the top, a few hundred at a time, for files of any size.

        Args:
            image: As for `upscale`.
            progress: As for `upscale`.
            after_last: Called when the engine has enlarged the last tile, or fails; None frees its working memory.
            keep_clear_colours: As for `upscale`.
        """
        check_image(image)
        rows, columns = self.prepare(image)
        count = len(rows) * len(columns)
        # The engine's memory is free before the caller encodes.
        after_last = after_last or self.engine.release
        yield from self._strips(image, rows, columns, count, progress, after_last, keep_clear_colours)

    def strip(
        self,
        image: Image,
        number: int,
        plan: tuple[Sequence[Span], Sequence[Span]],
        *,
        keep_clear_colours: bool = False,
    ) -> Image:
        """One of the arrays that `strips` yields, alone: for several processes that share an image.

        Args:
            image: As for `upscale`.
            number: Which one, from 0: that of the row of tiles.
            plan: Of the image, by `plan` here or in another process.
            keep_clear_colours: As for `upscale`.
        """
        rows, columns = plan
        count = len(rows) * len(columns)
        self.engine.prepare((rows[0].length, columns[0].length), count)
        (strip,) = self._strips(
            image, rows[number : number + 1], columns, count, None, lambda: None, keep_clear_colours
        )
        return strip

    def _strips(
        self,
        image: Image,
        rows: Sequence[Span],
        columns: Sequence[Span],
        count: int,
        progress: PixelProgress | None,
        after_last: Callable[[], None],
        keep_clear_colours: bool,
    ) -> Generator[Image, None, None]:
        """Strips of some rows of tiles; `count` is that of all tiles of the image."""
        width = image.shape[1]
        done, total = 0, image.shape[0] * width * self.scale**2
        is_last, engine_is_done = False, ExitStack()

        def enlarge(rgb: Tiles) -> Plane:
            enlarged = self._enlarge(rgb, count)
            if is_last and not has_alpha(image):  # which may be enlarged separately
                engine_is_done.close()
            return enlarged

        with engine_is_done:
            engine_is_done.callback(after_last)
            for down in rows:
                kept = (down.keep_stop - down.keep_start) * self.scale
                strip = np.empty((kept, width * self.scale, *image.shape[2:]), image.dtype)
                for across in columns:
                    tile = image[down.start : down.stop, across.start : across.stop]
                    is_last = down is rows[-1] and across is columns[-1]
                    part = self._enlarge_rgb8(tile)
                    if part is None:
                        part = enlarge_pixels(tile, enlarge, self.scale, keep_clear_colours)
                    place = slice(across.keep_start * self.scale, across.keep_stop * self.scale)
                    strip[:, place] = part[self._keep(down), self._keep(across)]
                    done += kept * (across.keep_stop - across.keep_start) * self.scale
                    if is_last:
                        engine_is_done.close()
                    if progress:
                        progress(done, total)
                yield strip
                del strip  # before the next one takes its memory

    def release(self) -> None:
        """Free the engine's working memory, where it was kept."""
        self.engine.release()

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
        return plan_for_memory(image, self.engine, self.halo, self._memory)

    def _keep(self, span: Span) -> slice:
        return slice((span.keep_start - span.start) * self.scale, (span.keep_stop - span.start) * self.scale)

    def _enlarge_rgb8(self, tile: NDArray[Any]) -> NDArray[Any] | None:
        """h x w x 3 to sh x sw x 3, the short way; None for what has to go the long one."""
        is_rgb8 = tile.dtype == np.uint8 and tile.shape[2:] == (3,)
        if is_rgb8 and max(tile.shape) >= SMALL and isinstance(self.engine, Rgb8Engine):
            return self.engine.enlarge_rgb8(tile)
        return None

    def _enlarge(self, tile: Tiles, count: int) -> Plane:
        """1 x 3 x h x w to 3 x sh x sw."""
        enlarged: Plane = self.engine(tile, count)[0]
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(enlarged.sum())  # one pass, without an array of its own
        if not finite:
            raise EngineError(f"{self.weights.name}: the results are not finite numbers; other weights are needed")
        return enlarged
