"""What a training tells: lines on the console and in a file, records for programs, TensorBoard, and curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bgai.atomic_files import whole_or_nothing
from bgai.errors import EngineError, OutputError

Record = Mapping[str, Any]


class Journal:
    """Writes `train.log` and `log.jsonl` in a folder, and TensorBoard's files below it.

    Args:
        folder: Of the experiment.
        iteration: Records of later iterations, from before the training was stopped, are dropped.
        tensorboard: Whether TensorBoard's files are written.
    """

    def __init__(self, folder: Path, iteration: int, tensorboard: bool) -> None:
        self._log = folder / "train.log"
        self.records = folder / "log.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made a folder: {error.strerror or error}") from None
        kept = [record for record in read_records(self.records) if record["iteration"] <= iteration]
        with whole_or_nothing(self.records) as partial:
            partial.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        self._board = _tensorboard(folder / "tb_logger", iteration) if tensorboard else None

    def line(self, text: str) -> None:
        print(text, flush=True)
        self._append(self._log, text)

    def record(self, iteration: int, **values: Any) -> None:
        self._append(self.records, json.dumps({"iteration": iteration, **values}))
        if self._board:
            for name, value in flattened(values).items():
                self._board.add_scalar(name, value, iteration)

    def close(self) -> None:
        if self._board:
            self._board.close()

    def _append(self, path: Path, text: str) -> None:
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None


def _tensorboard(folder: Path, iteration: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise EngineError("use_tb_logger needs TensorBoard: install it with  pip install 'bgai[train]'") from None
    return SummaryWriter(str(folder), purge_step=iteration + 1)


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
    """The records of a `log.jsonl`; a last line that was cut short is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
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


def draw_curves(records: Sequence[Record], target: Path, title: str) -> None:
    """Draw the loss, the learning rate and each validation metric over the iterations into a PNG file."""
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
