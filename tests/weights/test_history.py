"""The trainings that a file of weights tells of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bgai.errors import WeightsError
from bgai.network.config import NetworkConfig
from bgai.weights.history import Run, as_json, parse_history, read_history
from bgai.weights.safetensors_file import write_weights

RUN = Run(2, 10, 1.5, "4 images", "pixels 1", 3, "abc", teacher="the authors' weights")
OPTIONS = {
    "scale": 2,
    "manual_seed": 3,
    "train": {"pixel_opt": {"loss_weight": 0.25}, "teacher": {"weights": "official", "output": 1.0}},
}


def saved(path: Path, **metadata: str) -> Path:
    write_weights(NetworkConfig(2), {}, path, metadata)
    return path


def test_what_is_written_is_read() -> None:
    assert parse_history(as_json([RUN, RUN])) == [RUN, RUN]


def test_a_file_without_the_key_tells_of_its_last_training(tmp_path: Path) -> None:
    said = {"iterations": "10", "minutes": "1.5", "data": "4 images", "commit": "abc"}
    (run,) = read_history(saved(tmp_path / "a.safetensors", **said, options=json.dumps(OPTIONS)))
    assert run == Run(2, 10, 1.5, "4 images", "pixels 0.25, output 1", 3, "abc")


@pytest.mark.parametrize("metadata", [{}, {"iterations": "10"}, {"iterations": "10", "options": "{}"}])
def test_a_file_that_does_not_tell(metadata: dict[str, str], tmp_path: Path) -> None:
    assert read_history(saved(tmp_path / "a.safetensors", **metadata)) == []


@pytest.mark.parametrize(
    "history",
    ["", "3", "[3]", "[{}]", "[" * 100_000, as_json([RUN]).replace("10", '"10"'), as_json([RUN]).replace('"abc"', "1")],
)
def test_an_odd_history_is_one_clear_line(history: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="expected under history a JSON list of objects with scale, "):
        read_history(saved(tmp_path / "a.safetensors", history=history))
