"""`bgai bench`: time and memory of enlarging on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from bgai.choices import EngineName, Precision
from bgai.cli.console import complain, out, progress_bar

_FILES = "Files (replaced if they exist)"


def bench(
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WIDTHxHEIGHT",
            help="Size of the picture to enlarge; may be given several times.",
            show_default="128x128 and 256x256 as a whole, 640x480 in tiles",
        ),
    ] = None,
    scale: Annotated[int | None, typer.Option(help="2, 3 or 4.", show_default="that of the weights, or 4")] = None,
    weights: Annotated[
        str | None, typer.Option(help="'bgai', 'photo', 'official', or a file.", show_default="bgai")
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="openvino|native|torch",
            help="May be given several times, and the others are compared with the first.",
            show_default="those that run here",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps, …")] = "auto",
    tile: Annotated[
        int | None,
        typer.Option(
            help="Side of a tile, a multiple of 16; 0 for the whole picture.",
            show_default="as large as the memory allows",
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(metavar="float32|half", help="May be given several times.", show_default="float32"),
    ] = None,
    rounds: Annotated[int, typer.Option(help="Measured rounds per engine, after the warm-up.")] = 5,
    threads: Annotated[
        int | None, typer.Option(help="How many CPUs the engines may use.", show_default="all there are")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Every round, as JSON.", rich_help_panel=_FILES)] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="The tables, as Markdown.", rich_help_panel=_FILES)
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="A plot: .png, .svg or .pdf. Needs the extra 'train'.", rich_help_panel=_FILES),
    ] = None,
    share: Annotated[
        Path | None,
        typer.Option(
            help="A report to send to others, as JSON: times, kind of processor, memory and versions; no names and no"
            " folders.",
            rich_help_panel=_FILES,
        ),
    ] = None,
) -> None:
    """Measure the time and peak memory of each engine on this machine.

    Each engine runs in its own process, and the engines take turns, round by round, so that other work on the machine
    disturbs them alike.
    """
    from rich.box import SIMPLE
    from rich.table import Table

    from bgai.benchmark import cases, report
    from bgai.benchmark.rounds import WARM_UPS, compare

    if threads is not None:
        cases.limit_cpus(threads)
    engines = cast("list[EngineName]", engine or [])  # `plan` checks these names
    precisions = cast("list[Precision]", precision or ["float32"])
    settings = cases.Settings(
        sizes=size or (),
        scale=scale,
        weights=weights,
        engines=engines,
        device=device,
        tile=tile,
        precisions=precisions,
    )
    planned = cases.plan(settings)
    with report.outputs(json, markdown, plot, share) as write:
        with progress_bar(transient=True) as advance:
            comparisons = [
                compare(title, commands, rounds=rounds, progress=advance) for title, commands in planned.items()
            ]
        name = Path(weights or "bgai").name
        write(comparisons, {"weights": name, "device": device, "rounds": rounds, "warm_ups": WARM_UPS})
    for comparison in comparisons:
        table = Table(*report.head(comparison), title=comparison.title, title_justify="left", box=SIMPLE)
        for row in report.rows(comparison):
            table.add_row(*row)
        out.print(table)
    out.print(report.NOTE)
    failed = [(each.title, result) for each in comparisons for result in each.results if result.error]
    for title, result in failed:
        complain(f"{title}: {result.name}: {result.error}")
    if failed:
        raise typer.Exit(1)
