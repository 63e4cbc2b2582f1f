"""Files and folders in, enlarged files out: what to do is planned first, then done one picture after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bgai.errors import BgaiError, ImageError, OutputError, UsageError
from bgai.pictures.compression import Compression, read_compression
from bgai.pictures.jpeg_blocks import earlier_quality
from bgai.pictures.picture_files import (
    DEFAULT_MAX_PIXELS,
    INPUT_SUFFIXES,
    OUTPUT_SUFFIXES,
    Picture,
    check_output,
    read_picture,
    read_size,
    write_picture,
)
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.sources import shipped_scales

FORMATS = {"png": ".png", "jpeg": ".jpg", "jpg": ".jpg", "webp": ".webp", "tiff": ".tif", "tif": ".tif"}


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """How outputs are named and written."""

    out: Path | None = None
    """A file for a single picture, or a folder; None puts results beside the inputs."""
    format: str | None = None
    """One of `FORMATS`; None keeps the input's, or takes PNG where that cannot be written."""
    quality: int = 95
    overwrite: bool = False
    max_megapixels: float = DEFAULT_MAX_PIXELS / 1e6
    metadata: bool = True
    """Whether EXIF, XMP and IPTC are kept; the colour profile and the resolution always are."""

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise UsageError(f"format {self.format!r}: expected one of {', '.join(FORMATS)}")
        if not 1 <= self.quality <= 100:
            raise UsageError(f"quality {self.quality}: expected 1 to 100")
        if not 0 < self.max_megapixels < math.inf:
            raise UsageError(f"limit of {self.max_megapixels} megapixels: expected a number above 0")
        named = self.out.suffix.lower() if self.out else ""
        if self.format and named in OUTPUT_SUFFIXES and FORMATS.get(named[1:]) != FORMATS[self.format]:
            raise UsageError(f"{self.out}: does not agree with format {self.format}; leave one of them out")

    @property
    def max_pixels(self) -> int:
        return int(self.max_megapixels * 1e6)


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to enlarge; `pixels` are those of the output."""

    source: Path
    target: Path
    pixels: int


@dataclass(slots=True)
class Plan:
    """What a call will do: the jobs, those already done, and those that cannot be done with the reason."""

    jobs: list[Job] = field(default_factory=list)
    finished: list[Path] = field(default_factory=list)
    failures: list[BgaiError] = field(default_factory=list)


def plan_jobs(inputs: Sequence[Path], scale: int, settings: OutputSettings, recursive: bool = False) -> Plan:
    """Find the pictures and name their outputs, looking at headers alone.

    A file becomes `NAME_x4.png` beside it or in `settings.out`; a folder's pictures keep their names in `FOLDER_x4`
    or `settings.out`, and those whose output exists are taken as finished.

    Raises:
        UsageError: One output was named for several pictures.
    """
    single = len(inputs) == 1 and not inputs[0].is_dir()
    if settings.out and settings.out.suffix.lower() in OUTPUT_SUFFIXES and not settings.out.is_dir() and not single:
        raise UsageError(f"{settings.out}: one output for several pictures; give a folder")
    plan = Plan()
    named: list[_Named] = []
    for given in inputs:
        try:
            named += _name_outputs(given, scale, settings, recursive, single)
        except BgaiError as error:
            plan.failures.append(error)
        except OSError as error:
            plan.failures.append(ImageError(f"{given}: cannot be read: {error.strerror or error}"))
    originals = {item.source.resolve() for item in named}
    claimed: dict[Path, Path] = {}
    for item in named:
        try:
            _add(plan, item, originals, claimed, scale, settings)
        except BgaiError as error:
            plan.failures.append(error)
        except OSError as error:
            plan.failures.append(OutputError(f"{item.target}: cannot be looked at: {error.strerror or error}"))
    return plan


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

    def pick(self, source: Path, picture: Picture) -> tuple[Upscaler, str]:
        """The upscaler for a picture, and the reason in words; without one where there is nothing to choose from."""
        if not self._choosing:
            return self._ready["bgai"], ""
        found = _compression(source, picture)
        name = "photo" if found.strong else "bgai"
        for other in self._ready.keys() - {name}:
            self._ready[other].engine.rest()  # tiles are planned for the memory that one engine leaves
        if name not in self._ready:
            self._ready[name] = self._open(name)
        return self._ready[name], f"{name} weights: {found}"


def _compression(source: Path, picture: Picture) -> Compression:
    """Of the file; or that of an earlier JPEG, if its traces are to be seen in what is lossless now."""
    try:
        with source.open("rb") as stream:
            found = read_compression(stream)
    except OSError as error:
        raise ImageError(f"{source}: cannot be read: {error.strerror or error}") from None
    if found.lossless and picture.pixels.dtype == np.uint8 and (quality := earlier_quality(picture.pixels)):
        earlier = Compression(f"{found.format}, once a JPEG", quality=quality)
        return earlier if earlier.strong else found
    return found


@dataclass(frozen=True, slots=True)
class Done:
    """What is to be told of an output that was written."""

    weights: str
    """Which were picked for the picture, and why; empty where they were given."""
    notes: tuple[str, ...]
    """What could not be kept as it was."""


def run_job(
    job: Job,
    upscaler: Upscaler | FittingUpscalers,
    settings: OutputSettings,
    progress: Callable[[int, int], None] | None = None,
) -> Done:
    """Enlarge one picture; the output appears whole or not at all.

    Args:
        progress: Called with the output pixels done and those in all.

    Raises:
        ImageError: The picture is damaged.
        OutputError: The output cannot be written.
    """
    picture = read_picture(job.source, settings.max_pixels, scratch=job.target.parent)
    if not settings.metadata:
        picture = picture.with_profile_alone()
    weights = ""
    if isinstance(upscaler, FittingUpscalers):
        upscaler, weights = upscaler.pick(job.source, picture)
    width = picture.pixels.shape[1] * upscaler.scale

    def after_tile(done: int, total: int) -> None:
        picture.forget()
        if progress:
            progress(done, total)

    with write_picture(job.target, picture, width, quality=settings.quality, overwrite=settings.overwrite) as writer:
        for strip in upscaler.strips(picture.pixels, after_tile):
            writer.write(strip)
            del strip  # before the next one takes its memory
        return Done(weights, (*picture.notes, *writer.notes))


@dataclass(frozen=True, slots=True)
class _Named:
    """A picture with the output it would get; `from_folder` if nobody named the picture itself."""

    source: Path
    target: Path
    from_folder: bool


def _name_outputs(given: Path, scale: int, settings: OutputSettings, recursive: bool, single: bool) -> list[_Named]:
    out = settings.out
    if given.is_dir():
        return _name_folder(given, scale, settings, recursive)
    target = given.with_name(f"{given.stem}_x{scale}{_suffix(given, settings)}")
    if out and single and not out.is_dir() and out.suffix:
        target = out
    elif out:
        target = out / target.name
    return [_Named(given, target, from_folder=False)]


def _name_folder(given: Path, scale: int, settings: OutputSettings, recursive: bool) -> list[_Named]:
    whole = given.resolve()
    if not settings.out and not whole.name:
        raise UsageError(f"{given}: no folder can lie beside it; give one with -o")
    folder = settings.out or whole.with_name(f"{whole.name}_x{scale}")
    earlier = folder.resolve()
    found = []
    for source in sorted(given.rglob("*") if recursive else given.iterdir()):
        if earlier != whole and earlier in source.resolve().parents:
            continue  # an output of an earlier call
        if source.suffix.lower() in INPUT_SUFFIXES and source.is_file() and not source.name.startswith("."):
            target = (folder / source.relative_to(given)).with_suffix(_suffix(source, settings))
            found.append(_Named(source, target, from_folder=True))
    if not found:
        raise ImageError(f"{given}: no pictures in this folder" + ("" if recursive else "; add -r to look deeper"))
    return found


def _suffix(source: Path, settings: OutputSettings) -> str:
    if settings.format:
        return FORMATS[settings.format]
    return source.suffix if source.suffix.lower() in OUTPUT_SUFFIXES else ".png"


def _add(
    plan: Plan, item: _Named, originals: Set[Path], claimed: dict[Path, Path], scale: int, settings: OutputSettings
) -> None:
    source, target = item.source, item.target
    if target.resolve() in originals:
        raise OutputError(f"{source}: its output {target} would replace an original; choose another with -o")
    if target.exists() and not settings.overwrite:
        if not item.from_folder:
            raise OutputError(f"{target}: exists already; choose another output or add --overwrite")
        plan.finished.append(target)
        return
    height, width, channels = read_size(source, settings.max_pixels)
    check_output(target, height * scale, width * scale, channels)
    if target in claimed:
        raise OutputError(f"{source}: its output {target} would also be that of {claimed[target]}")
    claimed[target] = source
    plan.jobs.append(Job(source, target, height * width * scale**2))
