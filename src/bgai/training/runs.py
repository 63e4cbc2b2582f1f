"""Trainings beside each other: their best scores, the options in which they differ, and their curves on one page."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from bgai.atomic_files import whole_or_nothing
from bgai.errors import UsageError
from bgai.evaluation.result_folder import formatted, mean
from bgai.training.log_files import LONG_CURVE, Record, flattened, read_records, smoothed

_NOT_COMPARED = ("name",)


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """What a folder of a training says of it."""

    name: str
    iterations: int
    """Of the last record."""
    metric: str | None
    """The one that chose the best weights; None where nothing was validated."""
    best: float | None
    """Its mean over the validation sets."""
    best_iteration: int | None
    start: float | None
    """The score of the first weights, before any step; None where it was not measured."""
    options: Mapping[str, str]
    """All settings, by names such as `train.optim_g.lr`."""
    records: Sequence[Record]

    @property
    def score(self) -> str:
        """The best score and where it was reached, such as `psnr 31.250 at 5,000; 31.000 at the start`."""
        start = "" if self.start is None else f"{formatted(self.start)} at the start"
        if self.best is None:
            return f"{self.metric} {start}" if start else "not validated"
        return "; ".join(filter(None, [f"{self.metric} {formatted(self.best)} at {self.best_iteration:,}", start]))


def find_runs(root: Path, names: Sequence[str] = ()) -> list[TrainingRun]:
    """The trainings in a folder of experiments, in the order of their names.

    Args:
        root: Such as `experiments`.
        names: Those to take; none for all.

    Raises:
        UsageError: There are none, or not those that are named.
    """
    folders = {path.parent.name: path.parent for path in root.glob("*/options.json")}
    if missing := [name for name in names if name not in folders]:
        raise UsageError(f"{root / missing[0]}: no training here; expected one of {', '.join(sorted(folders))}")
    if not folders:
        raise UsageError(f"{root}: no trainings in this folder; expected what bgai train leaves")
    return [_read_run(folders[name]) for name in names or sorted(folders)]


def _read_run(folder: Path) -> TrainingRun:
    try:
        options = json.loads((folder / "options.json").read_text(encoding="utf-8"))
        metrics = options["val"]["metrics"]
        metric = options["val"].get("best_metric") or next(iter(metrics), None)
        lower = metric is not None and metrics[metric].get("better") == "lower"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{folder / 'options.json'}: damaged; expected what bgai train wrote") from error
    records = read_records(folder / "log.jsonl")
    scores = {
        record["iteration"]: mean([values[metric] for values in record["validation"].values()])
        for record in records
        if "validation" in record and all(metric in values for values in record["validation"].values())
    }
    start = scores.pop(0, None)
    at = (min if lower else max)(scores, key=lambda iteration: scores[iteration]) if scores else None
    return TrainingRun(
        folder.name,
        records[-1]["iteration"] if records else 0,
        metric,
        None if at is None else scores[at],
        at,
        start,
        _flat(options),
        records,
    )


def _flat(values: Any, name: str = "") -> dict[str, str]:
    if isinstance(values, Mapping) and values:
        return {key: text for below, value in values.items() for key, text in _flat(value, f"{name}.{below}").items()}
    return {name.removeprefix("."): "~" if values is None else f"{values}"}


def differing_options(runs: Sequence[TrainingRun]) -> dict[str, list[str]]:
    """The options in which runs differ, each with the value of each run; empty where a run has no such option."""
    names = dict.fromkeys(name for run in runs for name in run.options if name not in _NOT_COMPARED)
    # A section that a run leaves out is told by the options in it that others have.
    sections = {name for name in names for longer in names if longer.startswith(f"{name}.")}
    names = dict.fromkeys(name for name in names if name not in sections)
    values = {name: [run.options.get(name, "") for run in runs] for name in names}
    return {name: row for name, row in values.items() if len(set(row)) > 1}


def write_runs_page(runs: Sequence[TrainingRun], target: Path) -> None:
    """Write a page that needs no other file: a table of the runs, the differing options, and the curves."""
    environment = Environment(loader=PackageLoader("bgai.training", "."), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("runs.html.j2").render(
        runs=runs, options=differing_options(runs), plots=[_data(figure) for figure in _plots(runs)]
    )
    with whole_or_nothing(target) as partial:
        partial.write_text(page + "\n", encoding="utf-8")


def _plots(runs: Sequence[TrainingRun]) -> list[Figure]:
    """A figure for the loss, and one for each score of each validation set, with a curve for each run."""
    curves: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    for run in runs:
        for record in run.records:
            for name, value in flattened({key: record[key] for key in ("loss", "validation") if key in record}).items():
                xs, ys = curves.setdefault(name.removeprefix("validation/"), {}).setdefault(run.name, ([], []))
                xs.append(record["iteration"])
                ys.append(value)
    return [_plot(name, by_run) for name, by_run in curves.items()]


def _plot(name: str, curves: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    panel = figure.subplots()
    for run, (iterations, values) in curves.items():
        points = smoothed(iterations, values) if len(values) >= LONG_CURVE else (iterations, values)
        panel.plot(*points, label=run, marker="." if len(values) < 30 else None)
    panel.set(title=name, xlabel="iteration", yscale="log" if name == "loss" else "linear")
    panel.legend()
    panel.grid(alpha=0.3)
    return figure


def _data(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
