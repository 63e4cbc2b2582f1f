"""Files and folders in, enlarged files out: what to do is planned first, then done one picture after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bgai.errors import BgaiError, ImageError, OutputError, UsageError
from bgai.image import (
    DEFAULT_MAX_PIXELS,
    INPUT_SUFFIXES,
    OUTPUT_SUFFIXES,
    check_output,
    read_picture,
    read_size,
    write_picture,
)
from bgai.upscale import Upscaler

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
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise UsageError(f"format {self.format!r}: expected one of {', '.join(FORMATS)}")
        if not 1 <= self.quality <= 100:
            raise UsageError(f"quality {self.quality}: expected 1 to 100")
        if self.max_pixels < 1:
            raise UsageError(f"limit of {self.max_pixels} pixels: expected more than 0")


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
    plan = Plan()
    claimed: dict[Path, Path] = {}
    single = len(inputs) == 1 and not inputs[0].is_dir()
    if settings.out and settings.out.suffix.lower() in OUTPUT_SUFFIXES and not settings.out.is_dir() and not single:
        raise UsageError(f"{settings.out}: one output for several pictures; give a folder")
    for given in inputs:
        found = 0
        for source, target in _name_outputs(given, scale, settings, recursive, single):
            found += 1
            try:
                _add(plan, claimed, source, target, scale, settings, from_folder=given.is_dir())
            except BgaiError as error:
                plan.failures.append(error)
        if not found:
            hint = "" if recursive else "; add -r to look into its folders"
            plan.failures.append(ImageError(f"{given}: no pictures in this folder{hint}"))
    return plan


def run_job(
    job: Job, upscaler: Upscaler, settings: OutputSettings, progress: Callable[[int, int], None] | None = None
) -> tuple[str, ...]:
    """Enlarge one picture; the output appears whole or not at all.

    Args:
        progress: Called with the output pixels done and those in all.

    Returns:
        Notes on what could not be kept as it was.

    Raises:
        ImageError: The picture is damaged.
        OutputError: The output cannot be written.
    """
    picture = read_picture(job.source, settings.max_pixels)
    width = picture.pixels.shape[1] * upscaler.scale
    with write_picture(job.target, picture, width, quality=settings.quality, overwrite=settings.overwrite) as writer:
        for strip in upscaler.strips(picture.pixels, progress):
            writer.write(strip)
        return (*picture.notes, *writer.notes)


def _name_outputs(
    given: Path, scale: int, settings: OutputSettings, recursive: bool, single: bool
) -> Iterator[tuple[Path, Path]]:
    out = settings.out
    if not given.is_dir():
        target = given.with_name(f"{given.stem}_x{scale}{_suffix(given, settings)}")
        if out and single and not out.is_dir() and out.suffix:
            target = out
        elif out:
            target = out / target.name
        yield given, target
        return
    whole = given.resolve()
    folder = out or whole.with_name(f"{whole.name}_x{scale}")
    for source in sorted(given.rglob("*") if recursive else given.iterdir()):
        if folder in source.parents and folder != given:
            continue  # an earlier output inside the input folder
        if source.suffix.lower() in INPUT_SUFFIXES and source.is_file() and not source.name.startswith("."):
            yield source, (folder / source.relative_to(given)).with_suffix(_suffix(source, settings))


def _suffix(source: Path, settings: OutputSettings) -> str:
    if settings.format:
        return FORMATS[settings.format]
    return source.suffix if source.suffix.lower() in OUTPUT_SUFFIXES else ".png"


def _add(
    plan: Plan,
    claimed: dict[Path, Path],
    source: Path,
    target: Path,
    scale: int,
    settings: OutputSettings,
    from_folder: bool,
) -> None:
    if target in claimed:
        raise OutputError(f"{source}: its output {target} would also be that of {claimed[target]}")
    claimed[target] = source
    if target.exists() and target.samefile(source):
        raise OutputError(f"{source}: the output would replace it; choose another with -o")
    if target.exists() and not settings.overwrite:
        if not from_folder:
            raise OutputError(f"{target}: exists already; choose another output or add --overwrite")
        plan.finished.append(target)
        return
    height, width, channels = read_size(source, settings.max_pixels)
    check_output(target, height * scale, width * scale, channels)
    plan.jobs.append(Job(source, target, height * width * scale**2))
