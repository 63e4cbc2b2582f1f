"""A picture file in, an enlarged file out."""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass
from pathlib import Path

from bgai.errors import BgaiError, ImageError, OutputError, UsageError
from bgai.pictures.encoding import Encoding
from bgai.pictures.size_limit import DEFAULT_MAX_PIXELS
from bgai.pictures.writing import write_pages
from bgai.types import PixelProgress
from bgai.upscaling.fitting import AnyUpscaler, open_upscalers, used_weights
from bgai.upscaling.pages import FileEnlarger, FilePlan, plan_file
from bgai.upscaling.recipe import Recipe, file_digest
from bgai.upscaling.sizes import TargetSize
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
    keep_clear_colours: bool = False,
    overwrite: bool = False,
    metadata: bool = True,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    lenient: bool = False,
    upscaler: AnyUpscaler | None = None,
    progress: PixelProgress | None = None,
) -> EnlargedFile:
    """Enlarge a picture file; the output appears whole or not at all, and its memory is bounded at any size.

    Depth, transparency, profile and EXIF are kept. Animations stay animations in PNG, WebP and GIF, files of several
    pages have as many in TIFF; other formats get the first picture, with a note.

    Args:
        source: A picture file.
        target: The output; its suffix chooses between PNG, JPEG, WebP, TIFF, AVIF and GIF.
        scale: 2, 3 or 4; None takes the scale of the weights' file, or 4.
        size: That of the output, instead of a scale: the networks of the next scale enlarge the picture, and the
            result is reduced to this size. Two networks in a row make enlargements of more than four times.
        weights: As for `Upscaler`; or `auto`, which picks `bgai` or `photo` by how strongly the file was compressed.
        clean: As for `Upscaler`.
        quality: 1 to 100, for JPEG, WebP and AVIF.
        lossless: Whether WebP and AVIF lose nothing.
        background: What a transparent picture is laid on: `white`, `black` or `#rrggbb`.
        keep_clear_colours: As for `Upscaler.upscale`; WebP is then written such that it keeps them too.
        overwrite: Whether a file that exists may be replaced.
        metadata: Whether EXIF, XMP, IPTC and texts are kept; the colour profile and the resolution always are.
        max_pixels: Refuse sources with more, in all their frames and pages together.
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
    encoding = Encoding(quality, lossless, background, metadata, keep_clear_colours)
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
    except (BgaiError, MemoryError) as error:
        _free_locals(error)
        raise
    except Exception as error:  # whatever a picture causes is an error of that picture: a batch goes on
        _free_locals(error)
        raise ImageError(f"{source}: cannot be enlarged: {type(error).__name__}: {error}") from error


def _free_locals(error: BaseException | None) -> None:
    """Free what the calls that failed held: pixels, and files without names, which take their place on the disk.

    They would stay for as long as the error does, or until the garbage collector comes by.
    """
    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


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
    plan = plan_file(source, target, upscaler.scale, wanted, encoding, max_pixels, lenient)
    work = FileEnlarger(source, target, plan, upscaler, encoding, max_pixels, lenient, progress)
    picture = work.read(0)
    with upscaler.sharing.turn:
        used = used_weights(upscaler, plan.first.scale)
    recipe = make_recipe(source, target, plan, used, encoding)
    most = sum(math.prod(page.target) for page in plan.pages) * 4 * picture.pixels.itemsize
    with write_pages(
        target, encoding=encoding, overwrite=overwrite, fields=recipe.fields(), big=len(plan.pages) > 1 and most > 2**32
    ) as output:
        work.write(picture, output)
    return EnlargedFile(target, work.weights, work.notes)


def make_recipe(source: Path, target: Path, plan: FilePlan, weights: str, encoding: Encoding) -> Recipe:
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
    return Recipe(digest, str(plan.first.scale), plan.reduced_to, weights, encoding.describe(target))
