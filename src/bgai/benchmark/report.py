"""What a measurement leaves: a table, a record in JSON, a page of Markdown and a plot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bgai import provenance
from bgai.atomic_files import whole_or_nothing
from bgai.benchmark.rounds import Comparison, Measured, usable_cpus
from bgai.errors import EngineError, UsageError

PLOT_FORMATS = (".png", ".svg", ".pdf")
NOTE = (
    "Median (quartiles) of alternating rounds, each side in a process of its own; multiples pair by pair; CPUs kept "
    "busy; start: until a new process has enlarged its first image."
)
# Seconds that lie further apart than this are drawn on a logarithmic axis.
_LINEAR_RANGE = 20

Settings = Mapping[str, Any]


def head(comparison: Comparison) -> list[str]:
    """The names of the columns of `rows`."""
    first = comparison.sides[0].name
    return ["", "seconds", f"times {first}'s", "CPUs", "peak MiB", "start, s"]


def rows(comparison: Comparison) -> list[list[str]]:
    """A row for each side: medians with quartiles, or why it ended early."""
    return [_row(side, comparison.sides[0]) for side in comparison.sides]


def _row(side: Measured, first: Measured) -> list[str]:
    name = f"{side.name}, tiles: {side.facts['tiles']}" if "tiles" in side.facts else side.name
    if side.error:
        return [name, f"{'ended early' if side.seconds else 'not run'}: {side.error}", "", "", "", ""]
    busy = np.divide(side.cpu_seconds, side.seconds)
    return [
        name,
        spread(side.seconds),
        spread(ratios(side, first)),
        f"{np.median(busy):.1f}",
        f"{side.peak_bytes / 2**20:,.0f}",
        f"{side.start_seconds:.1f}",
    ]


def ratios(side: Measured, first: Measured) -> list[float]:
    """How many times the seconds of the first side a side took, pair by pair of rounds."""
    return [ours / theirs for ours, theirs in zip(side.seconds, first.seconds, strict=False)]


def spread(values: Sequence[float]) -> str:
    """Median and quartiles, to three digits; empty without values."""
    if not values:
        return ""
    low, middle, high = (f"{value:#.3g}".rstrip(".") for value in np.percentile(values, (25, 50, 75)))
    return f"{middle} ({low} to {high})"


def markdown(comparisons: Sequence[Comparison], settings: Settings) -> str:
    """All tables, and what they were made by."""
    tables = []
    for comparison in comparisons:
        lines = [head(comparison), ["---"] * len(head(comparison)), *rows(comparison)]
        tables.append(f"**{comparison.title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    made = _made_by()
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items() if value is not None)
    tables.append(
        f"{NOTE} Made on {made['machine']}, {made['threads']} threads, with {made['versions']}; {told}; "
        f"commit {made['commit']}."
    )
    return "\n\n".join(tables) + "\n"


def record(comparisons: Sequence[Comparison], settings: Settings) -> dict[str, Any]:
    """Every round of every side, for JSON."""
    return {**_made_by(), "settings": dict(settings), "comparisons": [asdict(one) for one in comparisons]}


def _made_by() -> dict[str, Any]:
    return {
        "commit": provenance.commit(),
        "machine": f"{provenance.processor()}, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "threads": usable_cpus(),
        "versions": provenance.versions("numpy", "openvino", "torch"),
    }


def draw(comparisons: Sequence[Comparison], target: Path, format: str) -> None:
    """Draw the medians and quartiles of all sides, a panel for each comparison."""
    from matplotlib.figure import Figure

    heights = [len(one.sides) for one in comparisons]
    figure = Figure(figsize=(8, 1 + 0.8 * len(heights) + 0.4 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(comparisons), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, comparison in zip(panels, comparisons, strict=True):
        _draw_panel(panel, comparison)
    figure.savefig(target, dpi=120, format=format)


def _draw_panel(panel: Any, comparison: Comparison) -> None:
    medians = []
    for place, side in enumerate(comparison.sides):
        if side.error:
            continue
        low, middle, high = np.percentile(side.seconds, (25, 50, 75))
        medians.append(middle)
        panel.errorbar(middle, place, xerr=[[middle - low], [high - middle]], fmt="o", capsize=3)
        panel.annotate(f"  {middle:#.3g} s", (high, place), va="center")
    names = [side.name + (" (not run)" if side.error else "") for side in comparison.sides]
    panel.set_yticks(range(len(names)), names)
    panel.set(title=comparison.title, xlabel="seconds", ylim=(len(names) - 0.5, -0.5))
    panel.margins(x=0.15)
    if medians and max(medians) > _LINEAR_RANGE * min(medians):
        panel.set_xscale("log")
    elif medians:
        panel.set_xlim(0, 1.25 * max(medians))  # with room for the labels
    panel.grid(axis="x", alpha=0.3)


Write = Callable[[Sequence[Comparison], Settings], None]


@contextmanager
def outputs(json_file: Path | None, markdown_file: Path | None, plot_file: Path | None) -> Iterator[Write]:
    """Claim files before anything is measured; the function that is lent writes them. All appear whole or not at all.

    Raises:
        EngineError: There is no matplotlib to draw with.
        UsageError: Two files are one, or the plot's is of no known format.
        OutputError: A file cannot be written.
    """
    files = [file.resolve() for file in (json_file, markdown_file, plot_file) if file]
    if len(set(files)) < len(files):
        raise UsageError(f"{files[-1]}: asked for twice; expected a file for each output")
    if plot_file:
        _check_plot(plot_file)
    with ExitStack() as stack:
        partials = [
            stack.enter_context(whole_or_nothing(file)) if file else None
            for file in (json_file, markdown_file, plot_file)
        ]

        def write(comparisons: Sequence[Comparison], settings: Settings) -> None:
            json_part, markdown_part, plot_part = partials
            if json_part:
                json_part.write_text(json.dumps(record(comparisons, settings), indent=2) + "\n", encoding="utf-8")
            if markdown_part:
                markdown_part.write_text(markdown(comparisons, settings), encoding="utf-8")
            if plot_file and plot_part:
                draw(comparisons, plot_part, plot_file.suffix.lower()[1:])

        yield write


def _check_plot(file: Path) -> None:
    if file.suffix.lower() not in PLOT_FORMATS:
        raise UsageError(f"{file}: expected a name that ends in {', '.join(PLOT_FORMATS)}")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise EngineError("a plot needs matplotlib: install it with  pip install 'bgai[train]'") from None
