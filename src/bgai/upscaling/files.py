"""A picture file in, an enlarged file out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bgai.errors import BgaiError, ImageError, OutputError, UsageError
from bgai.pictures.compression import Compression, read_compression
from bgai.pictures.jpeg_blocks import earlier_quality
from bgai.pictures.reading import Picture, read_picture
from bgai.pictures.size_limit import DEFAULT_MAX_PIXELS
from bgai.pictures.writing import Encoding, check_output, fit_alpha, write_picture
from bgai.types import PixelProgress
from bgai.upscaling.recipe import Recipe, file_digest, weights_digest
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.sources import Weights, find_weights, shipped_scales


@dataclass(frozen=True, slots=True)
class EnlargedFile:
    """An output that was written."""

    target: Path
    weights: str
    """Which were picked for the picture, and why; empty where they were given."""
    notes: tuple[str, ...]
    """What could not be kept as it was."""


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
        self._choosing = self.scale in shipped_scales("photo")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the weights that there are to choose from."""
        return ("bgai", "photo") if self._choosing else ("bgai",)

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


def upscale_file(
    source: str | Path,
    target: str | Path,
    *,
    scale: int | None = None,
    weights: str | Path | Weights = "auto",
    clean: float | None = None,
    quality: int = 95,
    lossless: bool = False,
    background: str | None = None,
    overwrite: bool = False,
    metadata: bool = True,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    lenient: bool = False,
    upscaler: Upscaler | FittingUpscalers | None = None,
    progress: PixelProgress | None = None,
) -> EnlargedFile:
    """Enlarge a picture file; the output appears whole or not at all, and its memory is bounded at any size.

    Depth, transparency, profile and EXIF are kept.

    Args:
        source: A picture file.
        target: The output; its suffix chooses between PNG, JPEG, WebP, TIFF and AVIF.
        scale: 2, 3 or 4; None takes the scale of the weights' file, or 4.
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
        progress: Called with the output pixels done and those in all.

    Raises:
        UsageError: An argument is outside its range.
        ImageError: The source cannot be read.
        OutputError: The target exists, or cannot be written.
        WeightsError: The weights cannot be had.
        EngineError: No engine can run here.

    Example:
        >>> import tempfile
        >>> from bgai.pictures.writing import save_rgb_png
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_rgb_png(Path(folder, "small.png"), np.zeros((8, 10, 3), np.uint8))
        ...     upscale_file(f"{folder}/small.png", f"{folder}/large.png", scale=2).target.name
        'large.png'
    """
    source, target = Path(source), Path(target)
    encoding = Encoding(quality, lossless, background, metadata)
    if upscaler is None:
        upscaler = _open_upscaler(scale, weights, clean)
    elif scale is not None or weights != "auto" or clean is not None:
        raise UsageError("an open upscaler has a scale and weights of its own: leave out scale, weights and clean")
    if target.exists() and source.exists() and target.samefile(source):
        raise OutputError(f"{target}: would replace its original; choose another output", parameter="output")
    try:
        return _enlarge(source, target, upscaler, encoding, overwrite, max_pixels, lenient, progress)
    except (BgaiError, MemoryError):
        raise
    except Exception as error:  # whatever a picture causes is an error of that picture: a batch goes on
        raise ImageError(f"{source}: cannot be enlarged: {type(error).__name__}: {error}") from error


def _open_upscaler(
    scale: int | None, weights: str | Path | Weights, clean: float | None
) -> Upscaler | FittingUpscalers:
    if weights == "auto" and clean is None:
        return FittingUpscalers(lambda name: Upscaler(scale, name))
    return Upscaler(scale, None if weights == "auto" else weights, clean=clean)


def _enlarge(
    source: Path,
    target: Path,
    upscaler: Upscaler | FittingUpscalers,
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
    recipe = make_recipe(source, target, upscaler.scale, used_weights(upscaler), encoding)
    picked = ""
    if isinstance(upscaler, FittingUpscalers):
        upscaler, picked = upscaler.pick(source, picture)
    height, width = picture.pixels.shape[:2]
    check_output(target, height * upscaler.scale, width * upscaler.scale, encoding)

    def after_tile(done: int, total: int) -> None:
        picture.forget()
        if progress:
            progress(done, total)

    with write_picture(
        target, picture, width * upscaler.scale, encoding=encoding, overwrite=overwrite, fields=recipe.fields()
    ) as writer:
        for strip in upscaler.strips(picture.pixels, after_tile):
            writer.write(strip)
            del strip  # before the next one takes its memory
        return EnlargedFile(target, picked, (*picture.notes, *writer.notes))


def used_weights(upscaler: Upscaler | FittingUpscalers) -> str:
    """The hash of an upscaler's weights that a recipe holds.

    Raises:
        WeightsError: A file of them is gone.
    """
    if isinstance(upscaler, FittingUpscalers):
        return weights_digest(*(find_weights(name, upscaler.scale) for name in upscaler.names))
    return weights_digest(upscaler.weights)


def make_recipe(source: Path, target: Path, scale: int, weights: str, encoding: Encoding) -> Recipe:
    """What makes `target` out of `source`.

    Args:
        source: The picture, which is read as a whole.
        target: Its suffix says what of `encoding` matters.
        scale: Of the weights.
        weights: As `used_weights` gives it.
        encoding: Quality and the like.

    Raises:
        ImageError: The picture cannot be read.
    """
    try:
        digest = file_digest(source)
    except OSError as error:
        raise ImageError(f"{source}: cannot be read: {error.strerror or error}") from error
    return Recipe(digest, str(scale), weights, encoding.describe(target))
