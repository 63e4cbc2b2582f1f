"""The `bgai` command."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from bgai._version import __version__
from bgai.cli.serve import serve
from bgai.datasets.sub_images import DEFAULT_WORKERS, PrepareSettings
from bgai.datasets.sub_images import prepare as cut_sub_images
from bgai.errors import BgaiError, EngineError, UsageError
from bgai.network.config import SCALES
from bgai.pictures.reading import DEFAULT_MAX_PIXELS
from bgai.upscaling.batch import Job, OutputSettings, plan_jobs, run_job
from bgai.upscaling.files import FittingUpscalers, used_weights
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.sources import Weights, find_weights

if TYPE_CHECKING:
    from bgai.evaluation.result_folder import Results
    from bgai.options.yaml_file import Options
    from bgai.weights.catalogue import Entry

out = Console()
if not out.is_terminal:
    out.width = 1000  # a pipe or a file has no edge to wrap at
err = Console(stderr=True)


_NO_MEMORY = "not enough memory; set a smaller --tile"


def _complain(message: object) -> None:
    err.print(f"bgai: {message}", style="red", markup=False, highlight=False, soft_wrap=True)


def _explained(error: BgaiError) -> str:
    return f"{error} (--{error.parameter.replace('_', '-')})" if error.parameter else str(error)


class _Messages(TyperGroup):
    """Turns errors into one line and an exit code; `--debug` lets the traceback through."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (BgaiError, MemoryError) as error:
            if ctx.params["debug"]:
                raise
            _complain(_explained(error) if isinstance(error, BgaiError) else _NO_MEMORY)
            raise typer.Exit(1) from None
        except BrokenPipeError:
            raise  # whoever reads has enough, as `head` does
        except OSError as error:
            if ctx.params["debug"]:
                raise
            _complain(f"{error.filename or 'an output'}: {error.strerror or error}; --debug shows where")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            _complain("stopped; what was finished is kept")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Messages,
    help="Sharp, faithful enlargements of pictures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def main_options(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,  # read by _Messages
) -> None:
    if version:
        typer.echo(f"bgai {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(2)


@app.command()
def upscale(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Pictures, or folders of them.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File or folder for the results.", show_default="beside the input"),
    ] = None,
    scale: Annotated[int | None, typer.Option(help="2, 3 or 4.", show_default="that of the weights, or 4")] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="'bgai' (for clean pictures), 'photo' (for compressed and noisy ones), 'auto' (one of them, by the"
            " picture's compression), 'official' (the authors', downloaded), or a file."
        ),
    ] = "auto",
    clean: Annotated[
        float | None,
        typer.Option(
            help="How much compression and noise to remove: from 0, as 'bgai', to 1, as 'photo'.",
            show_default="by --weights",
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="auto, openvino or torch.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, …")] = "auto",
    tile: Annotated[
        int | None,
        typer.Option(help="Side of a tile, a multiple of 16; 0 for the whole picture.", show_default="by free memory"),
    ] = None,
    halo: Annotated[
        int | None,
        typer.Option(help="Pixels cut off where tiles meet, a multiple of 8.", show_default="by weights"),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="float32, or half: faster, not quite as exact; on CUDA and newer CPUs.")
    ] = "float32",
    compile: Annotated[
        bool, typer.Option("--compile", help="On CUDA, compile for each size of tile: minutes, for large pictures.")
    ] = False,
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="Look into folders of folders.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    format: Annotated[
        str | None, typer.Option(help="png, jpeg, webp or tiff.", show_default="that of the input")
    ] = None,
    quality: Annotated[int, typer.Option(help="Of JPEG and WebP, 1 to 100.")] = 95,
    max_megapixels: Annotated[float, typer.Option(help="Refuse larger inputs.")] = DEFAULT_MAX_PIXELS / 1e6,
) -> None:
    """Enlarge pictures. Originals are never touched; outputs appear whole or not at all."""
    settings = OutputSettings(output, format, quality, overwrite, max_megapixels)

    def open_upscaler(weights: str | None) -> Upscaler:
        found = _find_weights(weights, scale, clean)
        return Upscaler(scale, found, engine, device, tile=tile, halo=halo, precision=precision, compile=compile)

    upscaler: Upscaler | FittingUpscalers
    if weights == "auto" and clean is None:
        upscaler = FittingUpscalers(open_upscaler)
    else:
        upscaler = open_upscaler(None if weights == "auto" else weights)
    plan = plan_jobs(inputs, upscaler.scale, settings, recursive, weights=used_weights(upscaler))
    for failure in plan.failures:
        _complain(_explained(failure))
    failed = len(plan.failures) + _run_jobs(plan.jobs, upscaler, settings)
    done = len(plan.jobs) + len(plan.failures) - failed
    parts = [f"{done} enlarged"]
    if plan.finished:
        parts.append(f"{len(plan.finished)} finished before")
    if failed:
        parts.append(f"{failed} failed")
    err.print(", ".join(parts), highlight=False)
    if failed:
        raise typer.Exit(1)


def _run_jobs(jobs: Sequence[Job], upscaler: Upscaler | FittingUpscalers, settings: OutputSettings) -> int:
    """Do the jobs under one progress bar and return how many failed."""
    failed = 0
    before = 0
    columns = (TextColumn("{task.description}"), BarColumn(), _MegapixelsColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not jobs) as progress:
        bar = progress.add_task("", total=sum(job.pixels for job in jobs))
        for job in jobs:
            progress.update(bar, description=job.source.name)

            def advance(done: int, _: int, before: int = before) -> None:
                progress.update(bar, completed=before + done)

            try:
                done = run_job(job, upscaler, settings, advance)
            except (BgaiError, MemoryError) as error:
                failed += 1
                _complain(_explained(error) if isinstance(error, BgaiError) else f"{job.source}: {_NO_MEMORY}")
            else:
                for note in done.notes:
                    err.print(f"{job.source}: {note}", markup=False, highlight=False, soft_wrap=True)
                _name_output(job.target, done.weights)
            before += job.pixels
            progress.update(bar, completed=before)
    return failed


def _name_output(target: Path, weights: str) -> None:
    """A person reads all of it on one line; a program that reads the output gets the bare name."""
    explained = f"{target}  ({weights})" if weights else str(target)
    out.print(explained if out.is_terminal else str(target), markup=False, highlight=False, soft_wrap=True)
    if weights and not out.is_terminal:
        err.print(explained, markup=False, highlight=False, soft_wrap=True)


class _MegapixelsColumn(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        speed = f"{task.speed / 1e6:.2f} MP/s" if task.speed else ""
        return Text(f"{task.completed / 1e6:.1f} of {(task.total or 0) / 1e6:.1f} MP {speed}")


app.command()(serve)


@app.command()
def info(
    complexity: Annotated[
        bool,
        typer.Option("--complexity", help="Count what the network computes, and measure its time and memory here."),
    ] = False,
) -> None:
    """Say what was found here and which engine is picked, and why."""
    if complexity:
        _show_complexity()
        return
    import psutil

    from bgai.engines.selection import choose, torch_accelerator
    from bgai.weights.sources import cache_folder, shipped_scales

    table = Table(show_header=False, box=None)
    table.add_row(
        "bgai", f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
    memory = psutil.virtual_memory()
    table.add_row(
        "machine", f"{os.cpu_count()} CPUs, {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    )
    table.add_row("weights", _weights_here())
    table.add_row("cache", str(cache_folder()))
    table.add_row("openvino", _version("openvino"))
    torch_found = _version("torch")
    if torch_found != "not installed":
        torch_found += f", GPU: {torch_accelerator() or 'none'}"
    table.add_row("torch", torch_found)
    engine, device, reason = choose(find_weights(None, shipped_scales()[-1]))
    table.add_row("picked", f"{engine} on {device}: {reason}")
    out.print(table, highlight=False)


def _weights_here() -> str:
    from bgai.weights.sources import SHIPPED_NAMES, shipped_scales

    held = {name: ", ".join(f"×{scale}" for scale in shipped_scales(name)) for name in SHIPPED_NAMES}
    by_default = "auto, by the picture's compression" if held["photo"] else "bgai"
    parts = [f"{name} {scales}" for name, scales in held.items() if scales]
    return ", ".join(parts) + f"; official ×2, ×3, ×4 on request; default: {by_default}"


def _show_complexity() -> None:
    from bgai.benchmark.report import spread
    from bgai.benchmark.rounds import Case, measure
    from bgai.weights.sources import SHIPPED, shipped_scales

    with _needing_extra("torch"):
        from bgai.network.complexity import OUTPUT, count
        from bgai.weights.checkpoint import load_network
    names = ("parameters", "multiply-adds", "activations", "from", "seconds here", "peak memory", "engine")
    columns = []
    with err.status("measuring"):
        for scale in shipped_scales():
            counts = count(load_network(SHIPPED / f"bgai_x{scale}.safetensors"))
            height, width = counts.lr_size
            measured = measure(Case("bgai", scale, height, width, tile=None))
            columns.append(
                (
                    f"{counts.parameters:,}",
                    f"{counts.multiply_adds / 1e9:.1f} G",
                    f"{counts.activations / 1e6:,.0f} M",
                    f"{width} x {height}",
                    spread(measured.seconds),
                    f"{measured.peak_bytes / 2**20:,.0f} MiB",
                    f"{measured.facts['engine']} on {measured.facts['device']}",
                )
            )
    table = Table(f"{OUTPUT[1]} x {OUTPUT[0]}", *(f"×{scale}" for scale in shipped_scales()))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, *row in zip(names, *columns, strict=True):
        table.add_row(name, *row)
    out.print(table, highlight=False)


@app.command()
def bench(
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WIDTHxHEIGHT",
            help="Of the picture; may be given several times.",
            show_default="128x128 and 256x256 as a whole, 640x480 in tiles",
        ),
    ] = None,
    scale: Annotated[int | None, typer.Option(help="2, 3 or 4.", show_default="that of the weights, or 4")] = None,
    weights: Annotated[str | None, typer.Option(help="As for upscale, but for 'auto'.", show_default="bgai")] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="openvino or torch; may be given several times, the one to compare with first.",
            show_default="those that run here",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, …")] = "auto",
    tile: Annotated[
        int | None,
        typer.Option(
            help="Side of a tile, a multiple of 16; 0 for the whole picture.", show_default="by free memory, as upscale"
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="float32 or half; may be given several times.", show_default="float32"),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Of each engine, after the warm-up.")] = 5,
    threads: Annotated[
        int | None, typer.Option(help="CPUs that the engines may use.", show_default="all there are")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="File for every round, replaced if there.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="File for the tables, replaced if there.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="File for a plot: .png, .svg or .pdf, replaced if there.")
    ] = None,
) -> None:
    """Measure what enlarging costs here: seconds and memory of each engine, in alternating rounds."""
    from bgai.benchmark import report as bench_report
    from bgai.benchmark import rounds as bench

    if threads is not None:
        bench.limit_cpus(threads)
    cases = bench.plan_cases(size, scale, weights, engine, device, tile, precision or ["float32"])
    with bench_report.outputs(json, markdown, plot) as write:
        with _counting(transient=True, disable=not err.is_terminal) as advance:
            found = [bench.compare(title, commands, rounds, progress=advance) for title, commands in cases.items()]
        name = Path(weights or "bgai").name
        write(found, {"weights": name, "device": device, "rounds": rounds, "warm_ups": bench.WARM_UPS})
    for comparison in found:
        table = Table(*bench_report.head(comparison), title=comparison.title, title_justify="left", box=SIMPLE)
        for row in bench_report.rows(comparison):
            table.add_row(*row)
        out.print(table, highlight=False)
    out.print(bench_report.NOTE, highlight=False)
    failed = [f"{one.title}: {side.name}: {side.error}" for one in found for side in one.sides if side.error]
    for failure in failed:
        _complain(failure)
    if failed:
        raise typer.Exit(1)


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


@app.command()
def export(
    weights: Annotated[str, typer.Argument(help="'bgai', 'photo', 'official', or a .safetensors or .pth file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .onnx or .safetensors file to write.")],
    scale: Annotated[int | None, typer.Option(help="2, 3 or 4, with a name.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
) -> None:
    """Turn weights into an ONNX graph for other runtimes, or a .pth into .safetensors."""
    found = _find_weights(weights, scale)
    if found.is_graph:
        raise UsageError(f"{weights}: a graph already; expected a .safetensors or .pth file")
    if output.suffix == ".safetensors":
        from bgai.weights.safetensors_file import read_weights, write_weights

        write_weights(*read_weights(found.file, found.key), output, overwrite=overwrite)
        out.print(str(output), markup=False, highlight=False, soft_wrap=True)
        return
    if output.suffix != ".onnx":
        raise UsageError(f"{output}: expected a name that ends in .onnx or .safetensors")
    with _needing_extra("export"):
        from bgai.engines.onnx_export import export_onnx
    difference = export_onnx(found.file, output, overwrite)
    out.print(f"{output}: within {difference:.1e} of the network", markup=False, highlight=False, soft_wrap=True)


@app.command("weights")
def list_weights(
    what: Annotated[
        str | None,
        typer.Argument(metavar="NAME|FILE", help="bgai, photo, official or a file.", show_default="all with a name"),
    ] = None,
    scale: Annotated[int | None, typer.Option(help="2, 3 or 4.", show_default="all")] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the official ones, for use without a network later.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="For programs: a list of objects.")] = False,
) -> None:
    """Say which weights there are, what for, how good, and where."""
    from bgai.weights.catalogue import NAMES, catalogue, describe

    if download and what not in (None, "official"):
        raise UsageError(f"{what}: nothing to download; --download is for 'official'")
    for each in (SCALES if scale is None else (scale,)) if download else ():
        _find_weights("official", each)
    named = what is None or what in NAMES
    entries = catalogue(what, scale) if named else [describe(Path(str(what)), scale)]
    if json:
        typer.echo(_as_json(entries))
        return
    for entry in entries:
        _show_weights(entry)


def _show_weights(entry: Entry) -> None:
    """A heading and indented lines, for any width; names, paths and addresses stay whole, to be copied."""
    from bgai.provenance import short

    def show(*parts: str) -> None:
        if line := "; ".join(filter(None, parts)):
            out.print(Padding.indent(Text(line), 4))

    out.print(Text(f"{entry.name} ×{entry.scale}", "bold"), soft_wrap=True)
    show(entry.purpose or "", f"taught by {entry.teacher}" if entry.teacher else "")
    show(*(f"{dataset} {_in_words(scores)}" for dataset, scores in entry.scores.items()))
    trained = [entry.data, f"{entry.minutes:g} minutes" if entry.minutes else None]
    show(
        f"trained on {', '.join(filter(None, trained))}" if any(trained) else "",
        f"commit {short(entry.commit)}" if entry.commit else "",
    )
    for run in entry.history if len(entry.history) > 1 else ():
        show(
            f"{run.iterations:,} iterations at ×{run.scale} in {run.minutes:g} minutes on {run.data}",
            f"loss {run.loss}",
            f"seed {run.seed}",
            f"commit {short(run.commit)}",
        )
    show(f"{entry.parameters:,} parameters; halo {entry.halo}")
    out.print(Text(f"    {entry.file or f'to be downloaded from {entry.urls[0]}'}"), soft_wrap=True)


def _in_words(scores: Mapping[str, float]) -> str:
    """Such as `37.60 dB / 0.9591`."""
    units = {"psnr": "{:.2f} dB", "ssim": "{:.4f}"}
    return " / ".join(units.get(metric, metric + " {:.4f}").format(score) for metric, score in scores.items())


def _as_json(entries: Sequence[Entry]) -> str:
    from dataclasses import asdict
    from json import dumps

    return dumps([asdict(entry) for entry in entries], indent=2, ensure_ascii=False, default=str)


def _find_weights(weights: str | None, scale: int | None, clean: float | None = None) -> Weights:
    """Find weights, with a bar while the official ones are downloaded."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    shown = err.is_terminal and weights == "official"
    with Progress(*columns, console=err, transient=True, disable=not shown) as progress:
        bar = progress.add_task("", visible=False)

        def advance(name: str, done: int, total: int) -> None:
            progress.update(bar, description=name, completed=done, total=total, visible=True)

        return find_weights(weights, scale, clean, progress=advance)


@app.command()
def prepare(
    hr: Annotated[Path, typer.Argument(metavar="HR_FOLDER", help="Folder of HR images.", show_default=False)],
    scale: Annotated[
        list[int] | None, typer.Option(help="2, 3 or 4; may be given several times.", show_default="all")
    ] = None,
    lr: Annotated[
        Path | None,
        typer.Option(
            help="Folder that holds LR images in X2, X3 and X4.",
            show_default="NAME_LR_bicubic beside NAME_HR; what is not there is made from HR",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for the folders of results.", show_default="beside HR_FOLDER"),
    ] = None,
    crop: Annotated[int, typer.Option(help="Side of an HR sub-image.")] = 480,
    step: Annotated[int, typer.Option(help="Pixels from one HR sub-image to the next.")] = 240,
    workers: Annotated[
        int, typer.Option(help="Images in work at a time.", show_default="one a CPU, at most 8")
    ] = DEFAULT_WORKERS,
    lmdb: Annotated[bool, typer.Option("--lmdb", help="Pack each folder of results into an LMDB store too.")] = False,
) -> None:
    """Cut HR and LR images into the sub-images that training reads. Called again, it goes on where it was stopped."""
    settings = PrepareSettings(hr, tuple(scale or SCALES), lr, output, crop, step, workers, lmdb)
    with _counting() as advance:
        result = cut_sub_images(settings, advance)
    for failure in result.failures:
        _complain(failure)
    for folder in result.folders:
        out.print(str(folder), markup=False, highlight=False, soft_wrap=True)
    parts = [f"{result.cut} cut"]
    if result.finished:
        parts.append(f"{result.finished} finished before")
    if result.failures:
        parts.append(f"{len(result.failures)} failed")
    err.print(", ".join(parts), highlight=False)
    if result.failures:
        raise typer.Exit(1)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def train(
    opt: Annotated[Path, typer.Option("-opt", "--opt", help="The option file.", show_default=False)],
    auto_resume: Annotated[
        bool, typer.Option("--auto_resume", "--auto-resume", help="Go on from the newest whole state, if there is one.")
    ] = False,
    launcher: Annotated[str, typer.Option(help="none, or pytorch under torchrun.")] = "none",
    force_yml: Annotated[
        list[str] | None,
        typer.Option("--force_yml", "--force-yml", metavar="A:B=C ...", help="Replace options of the file."),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,  # of --force_yml
    local_rank: Annotated[int, typer.Option("--local_rank", "--local-rank", hidden=True)] = 0,  # torchrun sets it too
) -> None:
    """Train from an option file, in BasicSR's layout; everything is left in experiments/NAME."""
    if launcher not in ("none", "pytorch"):
        raise UsageError(f"--launcher {launcher}: expected none or pytorch")
    with _needing_extra("train"):
        from bgai.options.sections import TrainOptions
        from bgai.training.run import train as train_from
    options = _read_options(opt, TrainOptions, force_yml, more)
    train_from(options, auto_resume, "pytorch" if launcher == "pytorch" else "none")


@app.command("test", context_settings={"help_option_names": ["-h", "--help"]})
def run_test(
    opt: Annotated[Path, typer.Option("-opt", "--opt", help="The option file.", show_default=False)],
    engine: Annotated[str, typer.Option(help="auto, openvino or torch.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, …")] = "auto",
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Of the file's sets; may be given several times.", show_default="all"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Measure again what was measured before.")] = False,
    force_yml: Annotated[
        list[str] | None,
        typer.Option("--force_yml", "--force-yml", metavar="A:B=C ...", help="Replace options of the file."),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,  # of --force_yml
    launcher: Annotated[str, typer.Option(hidden=True)] = "none",
) -> None:
    """Measure weights on test images from an option file, in BasicSR's layout; everything is left in results/NAME.

    Called again, it goes on where it was stopped.
    """
    if launcher != "none":
        raise UsageError(f"--launcher {launcher}: tests run in one process; leave it out")
    with _needing_extra("train"):
        from bgai.evaluation import run as testing
        from bgai.options.sections import TestOptions
    options = _read_options(opt, TestOptions, force_yml, more)
    with _counting(transient=True, disable=not err.is_terminal) as advance:
        results = testing.run_test(
            options,
            engine=engine,
            device=device,
            only=only or (),
            afresh=overwrite,
            progress=advance,
        )
    _show_results(results)


def _show_results(results: Results) -> None:
    from bgai.evaluation.result_folder import compared, means

    names = list(results.found[0].scores)
    table = Table("set", "images", *names, "seconds an image", caption="in parentheses: bicubic")
    for column in table.columns[1:]:
        column.justify = "right"
    for dataset in results.datasets:
        found = results.of(dataset)
        ours, bicubic = means([one.scores for one in found]), means([one.bicubic for one in found])
        table.add_row(
            dataset, str(len(found)), *compared(ours, bicubic), f"{sum(one.seconds for one in found) / len(found):.3f}"
        )
    out.print(table, highlight=False)
    for name in ("metrics.json", "report.html"):
        out.print(str(results.folder / name), markup=False, highlight=False, soft_wrap=True)


def _read_options(path: Path, kind: type[Options], force_yml: list[str] | None, more: list[str] | None) -> Options:
    from bgai.options.yaml_file import read_options

    if more and not force_yml:
        raise UsageError(f"{more[0]}: expected nothing here; options of the file are replaced by --force_yml")
    return read_options(path, kind, [*(force_yml or []), *(more or [])])


@contextmanager
def _counting(*, transient: bool = False, disable: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A bar; the function takes what is being done, how many are done of it, and of how many."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=transient, disable=disable) as progress:
        bar = progress.add_task("", visible=False)

        def advance(what: str, done: int, total: int) -> None:
            progress.update(bar, description=what, completed=done, total=total, visible=True)

        yield advance


@contextmanager
def _needing_extra(extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise EngineError(f"this needs {error.name}: install it with  pip install 'bgai[{extra}]'") from None
