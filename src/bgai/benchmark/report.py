"""Results of measurements as a table, JSON, Markdown and a plot."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bgai import provenance
from bgai.atomic_files import whole_or_nothing
from bgai.benchmark.rounds import Comparison, Result
from bgai.errors import MissingExtraError, UsageError
from bgai.processors import usable_cpus

PLOT_FORMATS = (".png", ".svg", ".pdf")
NOTE = (
    "Median (quartiles) of alternating rounds, each engine in its own process; multiples round by round; CPUs: how "
    "many were busy on average; start: until a new process has enlarged its first image."
)
# Seconds that lie further apart than this are drawn on a logarithmic axis.
_LINEAR_RANGE = 20

Settings = Mapping[str, Any]


def head(comparison: Comparison) -> list[str]:
    """The names of the columns of `rows`."""
    first = comparison.results[0].name
    return ["", "seconds", f"times {first}'s", "CPUs", "peak MiB", "start, s"]


def rows(comparison: Comparison) -> list[list[str]]:
    """A row for each process: medians with quartiles, or why it ended early."""
    return [_row(result, comparison.results[0]) for result in comparison.results]


def _row(result: Result, first: Result) -> list[str]:
    name = f"{result.name}, tiles: {result.facts['tiles']}" if "tiles" in result.facts else result.name
    if result.error:
        return [name, f"{'ended early' if result.seconds else 'not run'}: {result.error}", "", "", "", ""]
    busy = np.divide(result.cpu_seconds, result.seconds)
    return [
        name,
        spread(result.seconds),
        spread(ratios(result, first)),
        f"{np.median(busy):.1f}",
        f"{result.peak_bytes / 2**20:,.0f}",
        f"{result.start_seconds:.1f}",
    ]


def ratios(result: Result, first: Result) -> list[float]:
    """The seconds of each round as multiples of the first process's in the same round."""
    return [ours / theirs for ours, theirs in zip(result.seconds, first.seconds, strict=False)]


def spread(values: Sequence[float]) -> str:
    """Median and quartiles, to three digits; empty without values."""
    if not values:
        return ""
    low, middle, high = (f"{value:#.3g}".rstrip(".") for value in np.percentile(values, (25, 50, 75)))
    return f"{middle} ({low} to {high})"


def markdown(comparisons: Sequence[Comparison], settings: Settings) -> str:
    """All tables, with the machine, the versions and the commit."""
    tables = []
    for comparison in comparisons:
        lines = [head(comparison), ["---"] * len(head(comparison)), *rows(comparison)]
        tables.append(f"**{comparison.title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    made = _made_by()
    chosen = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items() if value is not None)
    tables.append(
        f"{NOTE} Made on {made['machine']}, {made['threads']} threads, with {made['versions']}; {chosen}; "
        f"commit {made['commit']}."
    )
    return "\n\n".join(tables) + "\n"


def record(comparisons: Sequence[Comparison], settings: Settings) -> dict[str, Any]:
    """Every round of every process, for JSON."""
    return {**_made_by(), "settings": dict(settings), "comparisons": [asdict(comparison) for comparison in comparisons]}


def shared(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Figures to send to others, for JSON: nothing that names a person, a folder or a machine but by its kind."""
    return {
        "processor": provenance.processor(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "threads": usable_cpus(),
        "system": f"{platform.system()} {platform.machine()}",
        "isa_limit": os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
        "versions": provenance.versions("numpy", "openvino", "torch"),
        "commit": provenance.commit(),
        "results": [
            {
                "size": comparison.title,
                "engine": result.name,
                "tiles": result.facts.get("tiles", "1"),
                "gpu": result.facts.get("gpu", ""),
                "seconds": [round(seconds, 4) for seconds in result.seconds],
                "cpu_seconds": [round(seconds, 4) for seconds in result.cpu_seconds],
                "peak_mib": round(result.peak_bytes / 2**20),
                "finished": not result.error,
            }
            for comparison in comparisons
            for result in comparison.results
        ],
    }


def _made_by() -> dict[str, Any]:
    return {
        "commit": provenance.commit(),
        "machine": f"{provenance.processor()}, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "threads": usable_cpus(),
        "versions": provenance.versions("numpy", "openvino", "torch"),
    }


def draw(comparisons: Sequence[Comparison], target: Path, format: str) -> None:
    """Draw the medians and quartiles of all processes, a panel for each comparison."""
    from matplotlib.figure import Figure

    heights = [len(comparison.results) for comparison in comparisons]
    figure = Figure(figsize=(8, 1 + 0.8 * len(heights) + 0.4 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(comparisons), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, comparison in zip(panels, comparisons, strict=True):
        _draw_panel(panel, comparison)
    figure.savefig(target, dpi=120, format=format)


def _draw_panel(panel: Any, comparison: Comparison) -> None:
    medians = []
    for place, result in enumerate(comparison.results):
        if result.error:
            continue
        low, middle, high = np.percentile(result.seconds, (25, 50, 75))
        medians.append(middle)
        panel.errorbar(middle, place, xerr=[[middle - low], [high - middle]], fmt="o", capsize=3)
        panel.annotate(f"  {middle:#.3g} s", (high, place), va="center")
    names = [result.name + (" (not run)" if result.error else "") for result in comparison.results]
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
def outputs(
    json_file: Path | None, markdown_file: Path | None, plot_file: Path | None, share_file: Path | None = None
) -> Iterator[Write]:
    """Open files before anything is measured, and yield a function that writes them, each whole or not at all.

    Raises:
        MissingExtraError: There is no matplotlib to draw with.
        UsageError: Two files are one, or the plot's is of no known format.
        OutputError: A file cannot be written.
    """
    files = [file.resolve() for file in (json_file, markdown_file, plot_file, share_file) if file]
    if len(set(files)) < len(files):
        raise UsageError(f"{files[-1]}: asked for twice; expected a file for each output")
    if plot_file:
        _check_plot(plot_file)
    with ExitStack() as stack:
        partials = [
            stack.enter_context(whole_or_nothing(file)) if file else None
            for file in (json_file, markdown_file, plot_file, share_file)
        ]

        def write(comparisons: Sequence[Comparison], settings: Settings) -> None:
            json_part, markdown_part, plot_part, share_part = partials
            if json_part:
                json_part.write_text(json.dumps(record(comparisons, settings), indent=2) + "\n", encoding="utf-8")
            if share_part:
                share_part.write_text(json.dumps(shared(comparisons), indent=2) + "\n", encoding="utf-8")
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
    except ImportError as error:
        raise MissingExtraError("train", "a plot") from error
