"""`bgai upscale`: enlarge pictures and folders of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bgai.cli import interrupts
from bgai.cli.cluster import ClusterOption, WorkerCpusOption, WorkerGpusOption
from bgai.cli.console import complain, explain, note, out, progress_bar, tell
from bgai.cli.network_options import (
    SPEED_PANEL,
    WEIGHTS_PANEL,
    CleanOption,
    DeviceOption,
    EngineOption,
    PrecisionOption,
)
from bgai.cli.standard_streams import STREAM, enlarge_stream
from bgai.cli.weights import find_weights
from bgai.errors import BgaiError, InWorkError, UsageError

if TYPE_CHECKING:
    from bgai.remote_files import AnyPath
    from bgai.upscaling.batch import Job, OutputSettings, Plan
    from bgai.upscaling.files import EnlargedFile
    from bgai.upscaling.fitting import AnyUpscaler
    from bgai.upscaling.sizes import TargetSize

# After more pictures than lines of a screen, the first failures are said again at the end.
_SCREEN, _REPEATED = 20, 12
_SIZE, _OUTPUT, _MESSAGES = "Size", "Output", "Messages"


def upscale(
    ctx: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Pictures, folders of them, or lists (.txt); here, or at s3://, gs://, az://, https://; - is standard"
            " input.",
            show_default=False,
        ),
    ],
    recursive: Annotated[
        bool, typer.Option("-r", "--recursive", help="Include the pictures in subfolders of folders.")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Go on afterwards: enlarge pictures as they appear in the folders, until Ctrl-C."),
    ] = False,
    max_megapixels: Annotated[float, typer.Option(help="Refuse inputs of more million pixels than this.")] = 200,
    lenient: Annotated[
        bool,
        typer.Option(
            "--lenient", help="Enlarge damaged pictures too, as far as they can be decoded; the rest is grey."
        ),
    ] = False,
    scale: Annotated[
        int | None,
        typer.Option(
            help="How many times the width and height: 2, 3 or 4.",
            show_default="that of the weights, or 4",
            rich_help_panel=_SIZE,
        ),
    ] = None,
    factor: Annotated[
        float | None,
        typer.Option(help="How many times the width and height: any number from 1 to 16.", rich_help_panel=_SIZE),
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Width in pixels; the height follows.", rich_help_panel=_SIZE)
    ] = None,
    height: Annotated[
        int | None, typer.Option(help="Height in pixels; the width follows.", rich_help_panel=_SIZE)
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            metavar="WxH",
            help="The largest size within a width and a height in pixels, such as 1920x1080; the same as --width and"
            " --height together.",
            rich_help_panel=_SIZE,
        ),
    ] = None,
    long_edge: Annotated[
        int | None, typer.Option(help="Length of the longer side in pixels.", rich_help_panel=_SIZE)
    ] = None,
    megapixels: Annotated[
        float | None, typer.Option(help="Million pixels in all, at most.", rich_help_panel=_SIZE)
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="File for the result of one picture, or folder for all results; - is standard output.",
            show_default="NAME_x4 beside the input; standard output for standard input",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace outputs that exist.", rich_help_panel=_OUTPUT)
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(
            help="Format of results: png, jpeg, webp, tiff, avif or gif.",
            show_default="by --output, else that of the input",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEMPLATE",
            help="Names of results without their ending, with any of {stem}, {scale}, {width} and {height}:"
            " '{stem}@{scale}x' makes photo@4x.jpg.",
            show_default="{stem}_x4; in folders {stem}",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    keep_dates: Annotated[
        bool,
        typer.Option("--keep-dates", help="Give each result the date of its original.", rich_help_panel=_OUTPUT),
    ] = False,
    quality: Annotated[
        int, typer.Option(help="Quality of JPEG, WebP and AVIF, 1 to 100.", rich_help_panel=_OUTPUT)
    ] = 95,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Write WebP and AVIF without loss.", rich_help_panel=_OUTPUT)
    ] = False,
    background: Annotated[
        str | None,
        typer.Option(
            metavar="COLOUR",
            help="Lay transparent pictures on white, black or a colour such as #20a0ff; JPEG needs that.",
            show_default="transparent stays transparent",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    keep_clear_colours: Annotated[
        bool,
        typer.Option(
            "--keep-clear-colours",
            help="Enlarge colours as if nothing were transparent, for textures of games; otherwise fully transparent"
            " pixels become black.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    no_metadata: Annotated[
        bool,
        typer.Option(
            "--no-metadata",
            help="Leave out EXIF, XMP, IPTC, texts and comments, as for publishing. Colour profile and resolution stay,"
            " and a hash of the original, by which a second run knows what is finished.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    weights: Annotated[
        str,
        typer.Option(
            help="'bgai' for clean pictures, 'photo' for compressed or noisy ones, 'auto' to choose between these two"
            " for each picture by how strongly it was compressed, 'official' for the authors' weights (downloaded"
            " once), or a .safetensors, .pth or .onnx file.",
            rich_help_panel=WEIGHTS_PANEL,
        ),
    ] = "auto",
    clean: CleanOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "float32",
    tile: Annotated[
        int | None,
        typer.Option(
            help="Pictures are enlarged in square tiles: the side of one in input pixels, a multiple of 16. Smaller"
            " tiles need less memory; 0 takes the whole picture at once.",
            show_default="as large as the memory allows",
            rich_help_panel=SPEED_PANEL,
        ),
    ] = None,
    halo: Annotated[
        int | None,
        typer.Option(
            help="How far tiles overlap, in input pixels: a multiple of 8. With less, seams may become visible.",
            show_default="what the weights need",
            rich_help_panel=SPEED_PANEL,
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="BYTES",
            help="What the process stays below on a CPU, such as 1GiB; more memory means larger tiles and less time.",
            show_default="a quarter of the machine's memory, if half of what is free is not less",
            rich_help_panel=SPEED_PANEL,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many pictures are in work at the same time: one is enlarged while others are read and written.",
            show_default="3; 1 with --memory, or where there is little memory",
            rich_help_panel=SPEED_PANEL,
        ),
    ] = None,
    compile: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="On CUDA: compile the network first. That takes minutes, and pays off for many or large pictures.",
            rich_help_panel=SPEED_PANEL,
        ),
    ] = False,
    cluster: ClusterOption = None,
    worker_cpus: WorkerCpusOption = 1,
    worker_gpus: WorkerGpusOption = 0,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be done, and write nothing.", rich_help_panel=_MESSAGES),
    ] = False,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object for each picture, on a line of its own: source, target, sizes as width and"
            " height, weights, seconds, notes; or error.",
            rich_help_panel=_MESSAGES,
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.", rich_help_panel=_MESSAGES)] = False,
) -> None:
    """Enlarge pictures.

    Originals are never changed. Each result appears whole or not at all, under the input's name with _x4 (the scale or
    size) added; the pictures of a folder keep their names, in a folder with _x4 added. A folder that was stopped goes
    on with the pictures that have no result yet.

        bgai upscale photo.jpg                        photo_x4.jpg beside it
        bgai upscale photo.jpg -o big.png --scale 2   other name, format, scale
        bgai upscale photo.jpg --width 1920           any size: photo_w1920.jpg
        bgai upscale holiday -r -o big --format webp  a folder and its subfolders
        bgai upscale - --format png <a.jpg >b.png     from and to other programs
        bgai upscale inbox -o outbox --watch          pictures as they appear

    A file bgai.toml, in the current folder or else in that of your configuration, has other defaults for options: in
    its table 'upscale', the line 'scale = 2' stands for --scale 2.

    Exit code: 0 if every picture was enlarged, 1 if any failed, 130 if stopped.
    """
    from bgai.cluster.lists import expand_lists
    from bgai.remote_files import RemotePath, parse_path
    from bgai.upscaling.batch import OutputSettings, plan_jobs
    from bgai.upscaling.fitting import WeightsName, open_upscalers, used_weights
    from bgai.upscaling.memory_plan import COMMAND_MEMORY, default_together, memory_for_tiles
    from bgai.upscaling.upscaler import Upscaler

    size = _target_size(factor, width, height, fit, long_edge, megapixels)
    if size and scale:
        raise UsageError("a scale and a size: leave one of them out", parameter="scale")
    sources = expand_lists([parse_path(given) for given in inputs])
    out_path = None if output is None else parse_path(output)
    settings = OutputSettings(
        out_path,
        format and format.lower(),
        quality,
        overwrite,
        max_megapixels,
        size,
        name,
        keep_dates,
        lossless=lossless,
        background=background,
        metadata=not no_metadata,
        lenient=lenient,
        keep_clear_colours=keep_clear_colours,
    )

    together = jobs or (1 if memory else default_together())
    bound = memory_for_tiles(memory, together)
    remote = isinstance(out_path, RemotePath) or any(isinstance(source, RemotePath) for source in sources)
    if cluster is not None or remote:
        from bgai.cli.spread import spread
        from bgai.cluster.enlarging import Opening
        from bgai.cluster.pool import Pool

        if watch:
            raise UsageError("--watch is for folders on this machine, without --cluster", parameter="watch")
        pool = None if cluster is None else Pool(cluster, worker_cpus, worker_gpus)
        if pool and memory is None:
            bound = COMMAND_MEMORY
        opening = Opening(
            scale, weights, clean, engine, device, precision, tile, halo, compile, bound, sized=size is not None
        )
        spread(
            ctx.command, sources, settings, opening, pool, recursive=recursive, dry_run=dry_run, json=json, quiet=quiet
        )
        return

    def open_upscaler(scale: int | None, weights: WeightsName, clean: float | None) -> Upscaler:
        chosen = find_weights(weights, scale, clean)
        with interrupts.deferred():
            return Upscaler(
                scale,
                chosen,
                engine,
                device,
                tile=tile,
                halo=halo,
                precision=precision,
                compile=compile,
                memory=bound,
            )

    upscaler = open_upscalers(open_upscaler, scale, weights, clean, sized=size is not None)
    local = [source for source in sources if isinstance(source, Path)]
    if STREAM in local or out_path == STREAM:
        if dry_run or json or name or watch:
            raise UsageError("standard input and output know no --dry-run, --json, --name and --watch")
        enlarge_stream(local, upscaler, settings, quiet)
        return
    report = _Report(ctx.command, upscaler, json, quiet)
    if watch and dry_run:
        raise UsageError("--watch and --dry-run: leave one of them out")
    if watch:
        _watch(local, recursive, upscaler, settings, report, together)
        return
    plan = plan_jobs(local, upscaler.scale, settings, recursive, weights=lambda scale: used_weights(upscaler, scale))
    for failure in plan.failures:
        report.failed(failure)
    if dry_run:
        for job in plan.jobs:
            report.planned(job)
    else:
        _run_jobs(plan.jobs, upscaler, settings, report, together)
    report.summarise(plan, dry_run, _left_out(local, recursive, settings.out))
    if report.failures:
        raise typer.Exit(1)


def _target_size(
    factor: float | None,
    width: int | None,
    height: int | None,
    fit: str | None,
    long_edge: int | None,
    megapixels: float | None,
) -> TargetSize | None:
    """The size that options ask for, or None if none does."""
    from bgai.upscaling.sizes import TargetSize

    if fit is not None:
        if width or height:
            raise UsageError("fit names a width and a height: leave --width and --height out", parameter="fit")
        box = re.fullmatch(r"([1-9]\d{0,8})[x×]([1-9]\d{0,8})", fit.strip().lower())
        if not box:
            raise UsageError(f"fit {fit!r}: expected a width and a height, such as 1920x1080", parameter="fit")
        width, height = int(box[1]), int(box[2])
    if (factor, width, height, long_edge, megapixels) == (None,) * 5:
        return None
    return TargetSize(factor=factor, width=width, height=height, long_edge=long_edge, megapixels=megapixels)


def _watch(
    folders: Sequence[Path],
    recursive: bool,
    upscaler: AnyUpscaler,
    settings: OutputSettings,
    report: _Report,
    together: int,
) -> None:
    """Enlarge what is in folders and what appears there, until a signal ends it."""
    from bgai.upscaling.batch import Plan, plan_jobs
    from bgai.upscaling.fitting import used_weights
    from bgai.upscaling.watching import new_pictures

    whole = Plan()
    if not report.quiet:
        note(f"watching {', '.join(map(str, folders))}; Ctrl-C ends it")
    try:
        for new in new_pictures(folders, recursive, settings.out if isinstance(settings.out, Path) else None):
            if not new:
                continue
            plan = plan_jobs(
                folders,
                upscaler.scale,
                settings,
                recursive,
                weights=lambda scale: used_weights(upscaler, scale),
                only=set(new),
            )
            whole.jobs += plan.jobs
            whole.finished += plan.finished
            for failure in plan.failures:
                report.failed(failure)
            _run_jobs(plan.jobs, upscaler, settings, report, together)
    finally:
        report.summarise(whole, False, [])


def _run_jobs(
    jobs: Sequence[Job], upscaler: AnyUpscaler, settings: OutputSettings, report: _Report, together: int
) -> None:
    """Do the jobs under one progress bar."""
    from bgai.upscaling.batch import run_jobs

    total = sum(job.pixels for job in jobs)
    done = dict.fromkeys((job.target for job in jobs), 0)
    with interrupts.deferred(), progress_bar("MP", hidden=report.quiet) as advance:

        def show(job: Job, pixels: int) -> None:
            done[job.target] = pixels
            advance(job.source.name, sum(done.values()), total)

        if jobs:
            show(jobs[0], 0)
        for outcome in run_jobs(jobs, upscaler, settings, show, together=together):
            if isinstance(outcome.result, InWorkError):
                report.in_work(outcome.job)
            elif isinstance(outcome.result, (BgaiError, MemoryError)):
                report.failed(outcome.result, outcome.job)
            else:
                report.done(outcome.job, outcome.result, outcome.seconds)
            show(outcome.job, outcome.job.pixels)


@dataclass
class _Report:
    """What is printed of each picture, and at the end."""

    command: Any
    upscaler: AnyUpscaler
    json: bool
    quiet: bool
    enlarged: int = 0
    failures: list[str] = field(default_factory=list)
    elsewhere: int = 0
    finished_elsewhere: int = 0

    def planned(self, job: Job) -> None:
        """Say what would be done."""
        if self.json:
            print_json(**self._facts(job))
        elif not self.quiet:
            (width, height), (wide, high) = self._sizes(job)
            anew = f"; made anew: the earlier output {job.replaces}" if job.replaces else ""
            tell(f"{job.source}: {job.target}, {width} x {height} to {wide} x {high}{anew}")

    def done(self, job: Job, done: EnlargedFile, seconds: float) -> None:
        """Name the output, and what could not be kept as it was."""
        from bgai.upscaling.batch import MADE_ELSEWHERE

        if MADE_ELSEWHERE in done.notes:
            self.finished_elsewhere += 1
        else:
            self.enlarged += 1
        if self.json:
            used = done.weights or self._weights(job.plan.scale)
            print_json(**self._facts(job), weights=used, seconds=round(seconds, 3), notes=done.notes)
        elif not self.quiet:
            for each in done.notes:
                note(f"{job.source}: {each}")
            name_output(job.target, done.weights)

    def failed(self, error: BgaiError | MemoryError, job: Job | None = None) -> None:
        """Say why there is no output."""
        message = explain(error, self.command)
        if job and isinstance(error, MemoryError):
            message = f"{job.source}: {message}"
        self.failures.append(message)
        complain(message)
        if self.json:
            print_json(**(self._facts(job) if job else {}), error=message)

    def in_work(self, job: Job) -> None:
        """Say that another process is at it."""
        self.elsewhere += 1
        if self.json:
            print_json(**self._facts(job), notes=["in work elsewhere"])
        elif not self.quiet:
            note(f"{job.source}: in work elsewhere")

    def summarise(self, plan: Plan, dry_run: bool, left_out: Sequence[str]) -> None:
        """Count what was done and what was not, and say again what failed if that is no longer on the screen."""
        parts = [f"{len(plan.jobs)} to be enlarged" if dry_run else f"{self.enlarged} enlarged"]
        if plan.finished:
            parts.append(f"{len(plan.finished)} finished before")
        if self.finished_elsewhere:
            parts.append(f"{self.finished_elsewhere} finished elsewhere")
        if self.elsewhere:
            parts.append(f"{self.elsewhere} in work elsewhere")
        if self.failures:
            parts.append(f"{len(self.failures)} failed")
        if not self.quiet:
            if len(plan.jobs) > _SCREEN:
                self._repeat_failures()
            note("; left out: ".join(filter(None, [", ".join(parts), ", ".join(left_out)])))

    def _repeat_failures(self) -> None:
        for message in self.failures[:_REPEATED]:
            note(f"failed: {message}")
        if len(self.failures) > _REPEATED:
            note(f"and {len(self.failures) - _REPEATED} more failed, as said above")

    def _facts(self, job: Job) -> dict[str, Any]:
        source_size, target_size = self._sizes(job)
        return {
            "source": str(job.source),
            "target": str(job.target),
            "source_size": source_size,
            "target_size": target_size,
        }

    def _sizes(self, job: Job) -> tuple[tuple[int, int], tuple[int, int]]:
        """Width and height of the source and of the target."""
        source, target = job.plan.source, job.plan.target
        return (source[1], source[0]), (target[1], target[0])

    def _weights(self, scale: int) -> str:
        """The name of the only weights that there were to choose from."""
        from bgai.upscaling.fitting import UpscalersByScale

        upscaler = self.upscaler.at(scale) if isinstance(self.upscaler, UpscalersByScale) else self.upscaler
        given = getattr(upscaler, "weights", None)
        return getattr(given, "name", f"bgai ×{scale}")


def _left_out(inputs: Sequence[Path], recursive: bool, output: AnyPath | None) -> list[str]:
    """What lies in the folders and is not enlarged, such as `2 of other kinds` and `1 folder without -r`."""
    from bgai.pictures.reading import INPUT_SUFFIXES

    others = folders = 0
    for given in inputs:
        for root, inner, files in os.walk(given):
            inner[:] = [name for name in inner if output is None or Path(root, name).resolve() != output.resolve()]
            others += sum(not name.startswith(".") and not name.lower().endswith(INPUT_SUFFIXES) for name in files)
            if not recursive:
                folders += sum(not name.startswith(".") for name in inner)
                inner.clear()
    kinds = [f"{others} of other kinds"] if others else []
    return kinds + ([f"{folders} folder{'s' * (folders > 1)} without -r"] if folders else [])


def name_output(target: Path | str, weights: str) -> None:
    """Print all of it in one line for a person; a program that reads the output gets the bare name."""
    explained = f"{target}  ({weights})" if weights else str(target)
    tell(explained if out.is_terminal else str(target))
    if weights and not out.is_terminal:
        note(explained)


def print_json(**values: Any) -> None:
    typer.echo(json.dumps(values))
