"""`bgai weights`: a list of all weights; and how other commands find weights by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bgai.cli.console import out, progress_bar
from bgai.errors import UsageError

if TYPE_CHECKING:
    from bgai.upscaling.fitting import WeightsName
    from bgai.weights.catalogue import Entry
    from bgai.weights.sources import Weights


def weights(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|FILE", help="'bgai', 'photo', 'official', or a file.", show_default="all that have a name"
        ),
    ] = None,
    scale: Annotated[int | None, typer.Option(help="2, 3 or 4.", show_default="all three")] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Download the authors' weights, for use without a network later.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list with an object for each.")] = False,
) -> None:
    """List weights with purpose, training data, scores and location."""
    from bgai.network.config import SCALES
    from bgai.weights.catalogue import NAMES, catalogue, describe

    if download and what not in (None, "official"):
        raise UsageError(f"{what}: nothing to download; --download is for 'official'")
    for each in (SCALES if scale is None else (scale,)) if download else ():
        find_weights("official", each)
    named = what is None or what in NAMES
    entries = catalogue(what, scale) if named else [describe(Path(str(what)), scale)]
    if json:
        typer.echo(_as_json(entries))
        return
    for entry in entries:
        _show_weights(entry)


def _show_weights(entry: Entry) -> None:
    """A heading and indented lines, for any width; names, paths and addresses stay whole, to be copied."""
    from rich.padding import Padding
    from rich.text import Text

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

    return dumps([asdict(entry) for entry in entries], indent=2, default=str)


def find_weights(weights: WeightsName, scale: int | None, clean: float | None = None) -> Weights:
    """Find weights, with a bar while the official ones are downloaded; arguments and errors as there."""
    from bgai.weights.sources import find_weights as find

    if weights != "official":
        return find(weights, scale, clean)
    with progress_bar("MB", transient=True) as advance:
        return find(weights, scale, clean, progress=advance)
