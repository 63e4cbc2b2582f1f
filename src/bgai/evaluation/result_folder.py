"""The folder of a test: what was measured on each image, as it comes, and the summary at the end.

results/NAME/images.jsonl    what the run is, then a line for each image: an interrupted test goes on from these
             metrics.json    means over each set, and the values of each image
             run.json        weights, settings, machine, versions, commit
             report.html     all of it to look at
             visualization/  the enlarged images, if asked for
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bgai.atomic_files import set_aside, whole_or_nothing
from bgai.errors import OutputError

Run = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured on one image."""

    dataset: str
    image: str
    megapixels: float
    """Of the enlarged image."""
    seconds: float
    """To enlarge it, without reading it and computing the metrics."""
    scores: dict[str, float]
    bicubic_seconds: float
    bicubic: dict[str, float]
    """The scores of MATLAB's bicubic enlargement."""

    @property
    def gain(self) -> float:
        """Of the first of the scores over bicubic; 0 where both images are equal to the original."""
        first = next(iter(self.scores))
        return 0.0 if math.isinf(self.bicubic[first]) else self.scores[first] - self.bicubic[first]


class Results:
    """The files of one test. What an interrupted run of the same left is found at once; `begin` writes.

    Args:
        root: Folder of all results.
        name: Of the test.
        run: All that the figures depend on.
        overwrite: Whether what was measured before is measured again.
    """

    def __init__(self, root: Path, name: str, run: Run, overwrite: bool = False) -> None:
        self.folder = root / name
        self.run = dict(run)
        self._lines = self.folder / "images.jsonl"
        earlier_run, earlier = _read_lines(self._lines)
        same = not overwrite and earlier_run == self.run
        self._other = earlier_run is not None and not same
        self.measurements = earlier if same else []
        self._places = {(each.dataset, each.image) for each in self.measurements}

    def begin(self) -> None:
        """Set results of another run under this name aside, and write what this one is."""
        if self._other:
            set_aside(self.folder)
        with whole_or_nothing(self._lines) as partial:
            lines = [self.run, *map(_storable, self.measurements)]  # without a last one that was cut short
            partial.write_text("".join(json.dumps(line, allow_nan=False) + "\n" for line in lines), encoding="utf-8")
        with whole_or_nothing(self.folder / "run.json") as partial:
            partial.write_text(json.dumps(self.run, indent=2) + "\n", encoding="utf-8")

    def add(self, measurement: Measurement) -> None:
        self.measurements.append(measurement)
        self._places.add((measurement.dataset, measurement.image))
        try:
            with self._lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_storable(measurement), allow_nan=False) + "\n")
        except OSError as error:
            raise OutputError(f"{self._lines}: cannot be written: {error.strerror or error}") from error

    def has(self, dataset: str, image: str) -> bool:
        return (dataset, image) in self._places

    def arrange(self, places: Sequence[tuple[str, str]]) -> None:
        """Put measurements in this order of sets and images, whatever order they were made in; others come first."""
        order = {place: number for number, place in enumerate(places)}
        self.measurements.sort(key=lambda each: order.get((each.dataset, each.image), -1))

    def of_set(self, dataset: str) -> list[Measurement]:
        return [each for each in self.measurements if each.dataset == dataset]

    @property
    def datasets(self) -> list[str]:
        return list(dict.fromkeys(each.dataset for each in self.measurements))

    def summarise(self) -> None:
        """Write `metrics.json`: means of the scores and seconds over each set, and the scores of each image."""
        summary = {}
        for dataset in self.datasets:
            measured = self.of_set(dataset)
            summary[dataset] = {
                **_finite(means([each.scores for each in measured])),
                "seconds": round(mean([each.seconds for each in measured]), 4),
                "images": {each.image: _finite(each.scores) for each in measured},
            }
        with whole_or_nothing(self.folder / "metrics.json") as partial:
            partial.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def means(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: mean([values[name] for values in scores]) for name in scores[0]}


def formatted(score: float) -> str:
    """Decibels to the thousandth, what lies around 0 and 1 to four places."""
    return "∞" if math.isinf(score) else f"{score:.3f}" if abs(score) > 2 else f"{score:.4f}"


def compared(scores: Mapping[str, float], bicubic: Mapping[str, float]) -> list[str]:
    """Each score as it is printed, with bicubic's in parentheses."""
    return [f"{formatted(value)} ({formatted(bicubic[name])})" for name, value in scores.items()]


def _storable(measurement: Measurement) -> dict[str, Any]:
    return {name: _finite(value) if isinstance(value, dict) else value for name, value in asdict(measurement).items()}


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no infinity, which is the PSNR of equal images."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _read_lines(path: Path) -> tuple[Any, list[Measurement]]:
    """The run that a file of measurements begins with, None without the file, and the measurements.

    Lines that are damaged or were cut short are left out: their images are measured again. Where the first one is
    damaged, `run.json` beside the file says the same.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return None, []
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror or error}") from error
    run = _parsed(lines[0]) if lines else None
    if not isinstance(run, dict) or "name" not in run:
        with suppress(OSError):
            run = _parsed(path.with_name("run.json").read_bytes())
    measurements = {(each.dataset, each.image): each for line in lines[1:] if (each := _measurement(line))}
    return {} if run is None else run, list(measurements.values())


def _parsed(text: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return None


def _measurement(line: bytes) -> Measurement | None:
    """What `_storable` wrote, or None for anything else."""
    values = _parsed(line)
    try:
        for scores in (values["scores"], values["bicubic"]):
            scores.update({name: math.inf if value is None else float(value) for name, value in scores.items()})
        for name, kind in (("dataset", str), ("image", str), ("megapixels", float), ("seconds", float)):
            if type(values[name]) is not kind:
                return None
        measurement = Measurement(**values)
        same_names = measurement.scores and measurement.scores.keys() == measurement.bicubic.keys()
        return measurement if same_names and float(measurement.bicubic_seconds) > 0 else None
    except (TypeError, KeyError, AttributeError, ValueError):
        return None
