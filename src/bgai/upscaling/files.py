"""A picture file in, an enlarged file out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bgai.errors import BgaiError, ImageError, OutputError, UsageError
from bgai.pictures.reading import Picture, read_picture
from bgai.pictures.size_limit import DEFAULT_MAX_PIXELS
from bgai.pictures.writing import Encoding, check_output, fit_alpha, write_picture
from bgai.types import PixelProgress, Size
from bgai.upscaling.fitting import AnyUpscaler, FittingUpscalers, UpscalersByScale, open_upscalers, used_weights
from bgai.upscaling.recipe import Recipe, file_digest
from bgai.upscaling.reduction import reduce_strips
from bgai.upscaling.sizes import Enlargement, TargetSize, plan_enlargement
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.sources import Weights


@dataclass(frozen=True, slots=True)
class EnlargedFile:
    """An output that was written."""

    target: Path
    weights: str
    """Which were picked for the picture, and why; empty where they were given."""
    notes: tuple[str, ...]
    """What could not be kept as it was."""


def upscale_file(
    source: str | Path,
    target: str | Path,
    *,
    scale: int | None = None,
    size: TargetSize | None = None,
    weights: str | Path | Weights = "auto",
    clean: float | None = None,
    quality: int = 95,
    lossless: bool = False,
    background: str | None = None,
    overwrite: bool = False,
    metadata: bool = True,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    lenient: bool = False,
    upscaler: AnyUpscaler | None = None,
    progress: PixelProgress | None = None,
) -> EnlargedFile:
    """Enlarge a picture file; the output appears whole or not at all, and its memory is bounded at any size.

    Depth, transparency, profile and EXIF are kept.

    Args:
        source: A picture file.
        target: The output; its suffix chooses between PNG, JPEG, WebP, TIFF and AVIF.
        scale: 2, 3 or 4; None takes the scale of the weights' file, or 4.
        size: That of the output, instead of a scale: the networks of the next scale enlarge the picture, and the
            result is reduced to this size. Two networks in a row make enlargements of more than four times.
        weights: As for `Upscaler`; or `auto`, which picks `bgai` or `photo` by how strongly the file was compressed.
        clean: As for `Upscaler`.
        quality: 1 to 100, for JPEG, WebP and AVIF.
        lossless: Whether WebP and AVIF lose nothing.
        background: What a transparent picture is laid on: `white`, `black` or `#rrggbb`.
        overwrite: Whether a file that exists may be replaced.
        metadata: Whether EXIF, XMP, IPTC and texts are kept; the colour profile and the resolution always are.
        max_pixels: Refuse larger sources.
        lenient: Whether a damaged source is enlarged as far as it can be decoded.
        upscaler: An open one, which saves the time to open one for each of many files; `scale`, `weights` and `clean`
            are its own then.
        progress: Called with the network's output pixels done and those in all.

    Raises:
        UsageError: An argument is outside its range.
        ImageError: The source cannot be read, or `size` is out of its reach.
        OutputError: The target exists, or cannot be written.
        WeightsError: The weights cannot be had.
        EngineError: No engine can run here.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from bgai.pictures.writing import save_rgb_png
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_rgb_png(Path(folder, "small.png"), np.zeros((8, 10, 3), np.uint8))
        ...     upscale_file(f"{folder}/small.png", f"{folder}/large.png", scale=2).target.name
        'large.png'
    """
    source, target = Path(source), Path(target)
    if size is not None and scale is not None:
        raise UsageError("a scale and a size: leave one of them out", parameter="scale")
    encoding = Encoding(quality, lossless, background, metadata)
    if upscaler is None:
        upscaler = open_upscalers(
            lambda *how: Upscaler(how[0], how[1], clean=how[2]), scale, weights, clean, sized=size is not None
        )
    elif scale is not None or weights != "auto" or clean is not None:
        raise UsageError("an open upscaler has a scale and weights of its own: leave out scale, weights and clean")
    if target.exists() and source.exists() and target.samefile(source):
        raise OutputError(f"{target}: would replace its original; choose another output", parameter="output")
    try:
        return _enlarge(source, target, upscaler, size, encoding, overwrite, max_pixels, lenient, progress)
    except (BgaiError, MemoryError):
        raise
    except Exception as error:  # whatever a picture causes is an error of that picture: a batch goes on
        raise ImageError(f"{source}: cannot be enlarged: {type(error).__name__}: {error}") from error


def plan_file(source: Path, size: Size, scale: int | None, wanted: TargetSize | None) -> Enlargement:
    """As `plan_enlargement`, for a picture file of a size.

    Raises:
        ImageError: The size that is wanted is out of reach.
    """
    try:
        return plan_enlargement(size, scale, wanted)
    except UsageError as error:
        raise ImageError(f"{source}: {error}", parameter=error.parameter) from error


def _enlarge(
    source: Path,
    target: Path,
    upscaler: AnyUpscaler,
    wanted: TargetSize | None,
    encoding: Encoding,
    overwrite: bool,
    max_pixels: int,
    lenient: bool,
    progress: PixelProgress | None,
) -> EnlargedFile:
    picture = read_picture(source, max_pixels, scratch=target.parent, lenient=lenient)
    if not encoding.metadata:
        picture = picture.with_colours_alone()
    picture = fit_alpha(picture, target, encoding.background)
    height, width = picture.pixels.shape[:2]
    plan = plan_file(source, (height, width), upscaler.scale, wanted)
    check_output(target, *plan.target, encoding)
    with upscaler.sharing.turn:
        used = used_weights(upscaler, plan.scale)
    recipe = make_recipe(source, target, plan, used, encoding)

    def after_tile(done: int, total: int) -> None:
        picture.forget()
        if progress:
            progress(done, total)

    with write_picture(
        target, picture, plan.target[1], encoding=encoding, overwrite=overwrite, fields=recipe.fields()
    ) as writer:
        with _turn(upscaler.sharing.turn) as leave:
            chosen, picked = _choose(upscaler, source, picture, plan.scale)

            def after_last() -> None:
                if not upscaler.sharing.keeps_memory:
                    chosen.release()
                leave()

            strips = chosen.strips(picture.pixels, after_tile, after_last)
            for strip in reduce_strips(strips, plan.whole, plan.target):
                writer.write(strip)
                del strip  # before the next one takes its memory
        return EnlargedFile(target, picked, (*picture.notes, *writer.notes))


@contextmanager
def _turn(lock: threading.Lock) -> Iterator[Callable[[], None]]:
    """Hold a lock to the end of the block, or until the function that is yielded is called."""
    with ExitStack() as stack:
        stack.enter_context(lock)
        yield stack.close


def _choose(upscaler: AnyUpscaler, source: Path, picture: Picture, scale: int) -> tuple[Upscaler, str]:
    """What enlarges a picture by a scale, and why it was picked, in words."""
    if isinstance(upscaler, UpscalersByScale):
        upscaler = upscaler.at(scale)
    return upscaler.pick(source, picture) if isinstance(upscaler, FittingUpscalers) else (upscaler, "")


def make_recipe(source: Path, target: Path, plan: Enlargement, weights: str, encoding: Encoding) -> Recipe:
    """What makes `target` out of `source`.

    Args:
        source: The picture, which is read as a whole.
        target: Its suffix says what of `encoding` matters.
        plan: From what size to what.
        weights: As `used_weights` gives it.
        encoding: Quality and the like.

    Raises:
        ImageError: The picture cannot be read.
    """
    try:
        digest = file_digest(source)
    except OSError as error:
        raise ImageError(f"{source}: cannot be read: {error.strerror or error}") from error
    size = "" if plan.target == plan.whole else "{1}x{0}".format(*plan.target)
    return Recipe(digest, str(plan.scale), size, weights, encoding.describe(target))
