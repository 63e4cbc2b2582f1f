"""`bgai runs`: list trainings with their best scores, and compare them on a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bgai.cli.console import needing_extra, out, tell


def runs(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="The trainings to list.", show_default="all")
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder of the trainings.")] = Path("experiments"),
    page: Annotated[Path | None, typer.Option(help="Write the page here.", show_default="runs.html in it")] = None,
) -> None:
    """List trainings with their best validation scores and the options in which they differ.

    A page shows the same, and their curves beside each other.

        bgai runs                                     all in experiments
        bgai runs photographs_X4 prepared_X4          two of them

    Needs the extra 'train'.
    """
    with needing_extra("train", "bgai runs"):
        from bgai.training.runs import differing_options, find_runs, write_runs_page
    from rich.table import Table

    runs_shown = find_runs(root, names or ())
    options = differing_options(runs_shown)
    table = Table("name", "iterations", "best score", "options that differ")
    for index, run in enumerate(runs_shown):
        differing = "\n".join(f"{name} {values[index]}" for name, values in options.items() if values[index])
        table.add_row(run.name, f"{run.iterations:,}", run.score, differing)
    out.print(table)
    target = page or root / "runs.html"
    write_runs_page(runs_shown, target)
    tell(str(target))
