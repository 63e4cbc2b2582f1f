"""Descriptions of weights: of those that have a name, and of any file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bgai.errors import UsageError, WeightsError
from bgai.network.config import SCALES, NetworkConfig
from bgai.weights.history import Run, parse_history, read_history
from bgai.weights.reading import read_weights
from bgai.weights.safetensors_file import read_metadata
from bgai.weights.shapes import parameter_count
from bgai.weights.sources import (
    DEFAULT_HALO,
    SHIPPED_NAMES,
    Weights,
    check_scale,
    find_weights,
    official_file,
    official_urls,
    shipped_scales,
)
from bgai.weights.state_file import read_state_metadata

NAMES = (*SHIPPED_NAMES, "official")

Scores = Mapping[str, Mapping[str, float]]
"""`{set: {metric: mean}}`, with `psnr` in dB."""

PURPOSES = {
    "bgai": "sharp and clean pictures, such as reduced photographs",
    "photo": "photographs with noise, blur or traces of compression",
}
_OFFICIAL_PURPOSE = "sharp and clean pictures; the authors' own"
_OFFICIAL_DATA = "DIV2K, 500,000 iterations"
# As `docs/results.md` has them.
_OFFICIAL_SCORES: dict[int, Scores] = {
    2: {
        "Set5": {"psnr": 38.243, "ssim": 0.9615},
        "Set14": {"psnr": 34.027, "ssim": 0.9219},
        "B100": {"psnr": 32.361, "ssim": 0.9020},
    },
    3: {
        "Set5": {"psnr": 34.591, "ssim": 0.9289},
        "Set14": {"psnr": 30.597, "ssim": 0.8468},
        "B100": {"psnr": 29.253, "ssim": 0.8095},
    },
    4: {
        "Set5": {"psnr": 32.417, "ssim": 0.8976},
        "Set14": {"psnr": 28.818, "ssim": 0.7870},
        "B100": {"psnr": 27.746, "ssim": 0.7422},
    },
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Description of one network's weights; None or empty where something is unknown."""

    name: str
    """What `--weights` takes: a name or a path."""
    scale: int
    parameters: int
    halo: int
    file: Path | None
    """None if they have yet to be downloaded."""
    urls: list[str] = field(default_factory=list)
    """Where they are downloaded from."""
    purpose: str | None = None
    data: str | None = None
    """What they were trained on."""
    teacher: str | None = None
    minutes: float | None = None
    """Of all trainings in `history`, if it tells of any."""
    commit: str | None = None
    scores: Scores = field(default_factory=dict)
    history: Sequence[Run] = ()
    """The trainings that made them, the first one first."""


def catalogue(name: str | None = None, scale: int | None = None) -> list[Entry]:
    """Describe all weights that have a name, on this machine or not; or those of one name, or of one scale.

    Raises:
        UsageError: No such scale.
        WeightsError: The package does not hold these.
    """
    check_scale(scale)
    entries = [
        _entry(shipped, find_weights(shipped, each), PURPOSES[shipped])
        for shipped in SHIPPED_NAMES
        for each in shipped_scales(shipped)
        if name in (None, shipped) and scale in (None, each)
    ]
    if name in SHIPPED_NAMES and not entries:
        find_weights(name, scale)  # which says what is missing
    return entries + [_official(each) for each in SCALES if name in (None, "official") and scale in (None, each)]


def describe(path: Path, scale: int | None = None) -> Entry:
    """Describe a file of weights.

    Raises:
        UsageError: The file is a graph, which has no description; or its weights have another scale.
        WeightsError: The file is missing, damaged, or holds something else than this network.
    """
    weights = find_weights(path, scale)
    if weights.is_graph:
        raise UsageError(f"{path}: a graph, which does not say what it is; expected a .safetensors or .pth file")
    entry = _entry(str(path), weights, None)
    if scale not in (None, entry.scale):
        raise UsageError(f"{path} enlarges ×{entry.scale}; leave the scale out or choose other weights")
    return entry


def _entry(name: str, weights: Weights, purpose: str | None) -> Entry:
    config, _ = read_weights(weights.file, weights.key)
    header = _header(weights.file)
    said = {key: _printable(value) for key, value in header.items()}
    history = [_printable_run(run) for run in _history(weights.file, header)]
    # A state's own training is no part of its history yet.
    own = 0.0 if history and weights.file.suffix != ".state" else _minutes(said.get("minutes")) or 0.0
    return Entry(
        name,
        config.scale,
        parameter_count(config),
        weights.halo,
        weights.file,
        purpose=said.get("purpose") or purpose,
        data=said.get("data"),
        teacher=said.get("teacher") or next((run.teacher for run in reversed(history) if run.teacher), None),
        minutes=sum(run.minutes for run in history) + own or None,
        commit=said.get("commit"),
        scores=_scores(weights.file, said.get("scores") or said.get("validation")),
        history=history,
    )


def _header(file: Path) -> dict[str, str]:
    if file.suffix == ".state":
        return read_state_metadata(file)
    return read_metadata(file) if file.suffix == ".safetensors" else {}


def _history(file: Path, header: Mapping[str, str]) -> list[Run]:
    if file.suffix == ".state":
        return parse_history(header["history"])
    return read_history(file) if header else []


def _official(scale: int) -> Entry:
    return Entry(
        "official",
        scale,
        parameter_count(NetworkConfig(scale)),
        DEFAULT_HALO,
        official_file(scale),
        official_urls(scale),
        _OFFICIAL_PURPOSE,
        _OFFICIAL_DATA,
        scores=_OFFICIAL_SCORES[scale],
    )


def _printable(text: str) -> str:
    """What a file says goes to terminals, which obey some characters."""
    return "".join(filter(str.isprintable, text))


def _printable_run(run: Run) -> Run:
    said: dict[str, Any] = {key: _printable(value) for key, value in asdict(run).items() if isinstance(value, str)}
    return replace(run, **said)


def _minutes(said: str | None) -> float | None:
    try:
        return _finite(said) if said else None
    except ValueError:
        return None


def _scores(file: Path, said: str | None) -> Scores:
    try:
        scores = json.loads(said or "{}")
        return {dataset: {metric: _finite(mean) for metric, mean in means.items()} for dataset, means in scores.items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise WeightsError(
            f'{file}: its metadata says scores {str(said)[:40]!r}; expected JSON, {{set: {{"psnr": x, "ssim": y}}}}'
        ) from None


def _finite(value: str | float) -> float:
    if not math.isfinite(number := float(value)):
        raise ValueError
    return number
