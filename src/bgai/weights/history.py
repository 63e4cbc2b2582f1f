"""The sequence of trainings that made weights: the metadata key `history` of their file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import NoneType

from bgai.errors import WeightsError
from bgai.weights.safetensors_file import read_metadata


@dataclass(frozen=True, slots=True)
class Run:
    """One training; None where something is unknown or was not used."""

    scale: int
    iterations: int
    minutes: float
    data: str
    loss: str
    """Its terms with their weights, such as `pixels 0.25, output 1`."""
    seed: int
    commit: str
    teacher: str | None = None
    start: str | None = None
    """Name of the file that it started from."""


def read_history(file: Path) -> list[Run]:
    """The trainings that a safetensors file records, oldest first; without `history`, the last one at most.

    Raises:
        WeightsError: The file cannot be read, or its `history` is damaged.
    """
    metadata = read_metadata(file)
    if "history" not in metadata:
        with suppress(*_ODD):
            return [_checked(run_of(metadata))]
        return []
    try:
        return parse_history(metadata["history"])
    except _ODD:
        raise WeightsError(
            f"{file}: its metadata do not tell of its trainings; expected under history a JSON list of objects with"
            f" {', '.join(_KINDS)}"
        ) from None


def parse_history(text: str) -> list[Run]:
    """Parse what `as_json` wrote.

    Raises:
        ValueError: The text is no JSON.
        TypeError: It is not a list of trainings.
    """
    return [_checked(Run(**run)) for run in json.loads(text)]


def as_json(history: Sequence[Run]) -> str:
    """One line, for metadata and states."""
    return json.dumps([asdict(run) for run in history])


def run_of(metadata: Mapping[str, str]) -> Run:
    """The training whose iterations, minutes, data, options, … are a file's metadata."""
    options = json.loads(metadata["options"])
    return Run(
        options["scale"],
        int(metadata["iterations"]),
        float(metadata["minutes"]),
        metadata["data"],
        _loss(options["train"]),
        options["manual_seed"],
        metadata["commit"],
        metadata.get("teacher"),
        metadata.get("start"),
    )


def _loss(train: Mapping[str, Mapping[str, float]]) -> str:
    teacher = train.get("teacher", {})
    weights = {"pixels": train["pixel_opt"]["loss_weight"], "frequencies": train.get("fft_opt", {}).get("loss_weight")}
    weights |= {name: teacher.get(name, 0) for name in ("features", "maps", "output")}
    return ", ".join(f"{name} {weight:g}" for name, weight in weights.items() if weight)


def _checked(run: Run) -> Run:
    for name, kinds in _KINDS.items():
        if not isinstance(getattr(run, name), kinds):
            raise TypeError(name)
    return run


_ODD = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "scale": int,
    "iterations": int,
    "minutes": (int, float),
    "data": str,
    "loss": str,
    "seed": int,
    "commit": str,
    "teacher": (str, NoneType),
    "start": (str, NoneType),
}
