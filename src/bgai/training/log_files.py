"""The course of a training: lines for people, records for programs and boards, and curves.

Lines go to `train.log`, with time stamps, and to Python's `logging` under the name `bgai.training`, at the level INFO.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from matplotlib.figure import Figure

from bgai.atomic_files import whole_or_nothing
from bgai.errors import OutputError
from bgai.evaluation.result_folder import mean
from bgai.training.boards import Board
from bgai.types import RgbImage

_logger = logging.getLogger("bgai.training")

Record = Mapping[str, Any]


class Journal:
    """Writes `train.log` and `log.jsonl` in a folder, and shows the same on boards.

    Args:
        folder: Of the experiment.
        iteration: Records of later iterations, from before the training was stopped, are dropped.
        boards: What else shows the records, and pictures.
    """

    def __init__(self, folder: Path, iteration: int, boards: Sequence[Board] = ()) -> None:
        self._log = folder / "train.log"
        self.records = folder / "log.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made a folder: {error.strerror or error}") from error
        records = read_records(self.records) if iteration else []  # of a training that begins, none are kept
        kept = [record for record in records if record["iteration"] <= iteration]
        with whole_or_nothing(self.records) as partial:
            partial.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        self._boards = boards

    def line(self, text: str) -> None:
        _logger.info("%s", text)
        self._append(self._log, f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S%z}  {text}")

    def record(self, iteration: int, **values: Any) -> None:
        self._append(self.records, json.dumps({"iteration": iteration, **values}))
        for board in self._boards:
            board.numbers(iteration, flattened(values))

    def picture(self, iteration: int, name: str, pixels: RgbImage) -> None:
        """Show a picture, H x W x 3, on the boards."""
        for board in self._boards:
            board.picture(iteration, name, pixels)

    def close(self) -> None:
        for board in self._boards:
            board.close()

    def _append(self, path: Path, text: str) -> None:
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def show_messages(stream: TextIO) -> Iterator[None]:
    """Write what `bgai` logs at the level INFO and above to a stream, a line for each message."""
    logger, handler = logging.getLogger("bgai"), logging.StreamHandler(stream)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Numbers of nested mappings under names such as `Set5/psnr`."""
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{name}/")
        else:
            flat[prefix + name] = float(value)
    return flat


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a `log.jsonl`; lines that are damaged or were cut short are left out."""
    records = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
            flattened(record)
        except (ValueError, TypeError, AttributeError, RecursionError):
            continue
        if type(record.get("iteration")) is int:
            records.append(record)
    return records


def _panel(name: str) -> tuple[str, str] | None:
    """The panel and the curve in it where a flattened record's number is drawn."""
    kind, _, rest = name.partition("/")
    if kind == "validation":
        dataset, _, metric = rest.rpartition("/")
        return metric, dataset
    if kind == "terms":
        return "loss", rest
    return (name, "all" if name == "loss" else "") if name in ("loss", "lr") else None


_SMOOTHED_POINTS = 100
LONG_CURVE = 2 * _SMOOTHED_POINTS
"""Points from which on a curve is drawn smoothed."""


def smoothed(iterations: Sequence[int], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """The means of a curve over windows of equal length, a hundred of them or so, at the means of their iterations."""
    length = -(-len(values) // _SMOOTHED_POINTS)
    windows = range(0, len(values), length)
    means_of = [[mean(column[start : start + length]) for start in windows] for column in (iterations, values)]
    return means_of[0], means_of[1]


def draw_curves(records: Sequence[Record], target: Path, title: str) -> None:
    """Draw the loss, the learning rate and each validation metric over the iterations into a PNG file.

    A long curve of the loss is smoothed, with the raw one behind it.
    """
    panels: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    for record in records:
        for name, value in flattened(record).items():
            if (place := _panel(name)) is not None:
                metric, curve_name = place
                curve = panels.setdefault(metric, {}).setdefault(curve_name, ([], []))
                curve[0].append(record["iteration"])
                curve[1].append(value)
    figure = Figure(figsize=(5 * max(len(panels), 1), 4), layout="constrained")
    figure.suptitle(title)
    for panel, (metric, curves) in zip(
        figure.subplots(1, max(len(panels), 1), squeeze=False)[0], panels.items(), strict=False
    ):
        for curve_name, (iterations, values) in curves.items():
            if metric == "loss" and len(values) >= LONG_CURVE:
                (raw,) = panel.plot(iterations, values, alpha=0.2, linewidth=0.5)
                panel.plot(*smoothed(iterations, values), label=curve_name, color=raw.get_color())
            else:
                panel.plot(iterations, values, label=curve_name, marker="." if len(values) < 30 else None)
        panel.set(
            xlabel="iteration",
            ylabel={"lr": "learning rate", "psnr": "PSNR, dB"}.get(metric, metric),
        )
        if metric == "loss":
            panel.set_yscale("log")
        if any(curves):
            panel.legend()
        panel.grid(alpha=0.3)
    with whole_or_nothing(target) as partial:
        figure.savefig(partial, dpi=120, format="png")
