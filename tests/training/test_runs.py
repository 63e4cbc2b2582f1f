"""Trainings beside each other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bgai.errors import UsageError
from bgai.training.runs import differing_options, find_runs, write_runs_page


def leave(
    root: Path, name: str, scores: list[float], better: str = "higher", start: bool = False, **train: Any
) -> None:
    """What a training leaves, as far as it is looked at."""
    folder = root / name
    folder.mkdir(parents=True)
    val = {"best_metric": None, "metrics": {"psnr": {"better": better}, "ssim": {"better": "higher"}}}
    (folder / "options.json").write_text(json.dumps({"name": name, "scale": 2, "train": train, "val": val}))
    records: list[dict[str, Any]] = [{"iteration": 5, "loss": 0.1}]
    for number, score in enumerate(scores, 1 - start):
        validation = {each: {"psnr": score + shift, "ssim": 0.9} for each, shift in (("Set5", 1), ("Set14", -1))}
        records.append({"iteration": 10 * number, "validation": validation})
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def test_runs_have_their_best_score_and_the_options_that_differ(tmp_path: Path) -> None:
    leave(tmp_path, "b", [30, 32, 31], lr=1e-3, optim={"type": "Adam"})
    leave(tmp_path, "a", [30, 29], better="lower", lr=1e-3, optim={"type": "SGD", "momentum": 0.9})
    leave(tmp_path, "c", [])
    runs = find_runs(tmp_path)
    assert [run.name for run in runs] == ["a", "b", "c"]
    assert [run.score for run in runs] == ["psnr 29.000 at 20", "psnr 32.000 at 20", "not validated"]
    assert [run.iterations for run in runs] == [20, 30, 5]
    assert differing_options(runs[:2]) == {
        "train.optim.type": ["SGD", "Adam"],
        "train.optim.momentum": ["0.9", ""],
        "val.metrics.psnr.better": ["lower", "higher"],
    }


def test_a_section_that_a_run_leaves_out_is_told_by_its_options(tmp_path: Path) -> None:
    leave(tmp_path, "a", [30], teacher=None)
    leave(tmp_path, "b", [30], teacher={"weights": "official", "features": 1})
    assert differing_options(find_runs(tmp_path)) == {
        "train.teacher.weights": ["", "official"],
        "train.teacher.features": ["", "1"],
    }


def test_the_first_weights_are_no_result_of_a_training(tmp_path: Path) -> None:
    leave(tmp_path, "a", [33, 30, 31], start=True)
    leave(tmp_path, "b", [33], start=True)
    assert [run.score for run in find_runs(tmp_path)] == [
        "psnr 31.000 at 20; 33.000 at the start",
        "psnr 33.000 at the start",
    ]


def test_the_page_shows_all_of_it(tmp_path: Path) -> None:
    leave(tmp_path, "a<b", [30, 29], lr=1e-3)
    leave(tmp_path, "second", [31], lr=2e-3)
    write_runs_page(find_runs(tmp_path), tmp_path / "runs.html")
    page = (tmp_path / "runs.html").read_text()
    assert "a&lt;b" in page
    assert "psnr 31.000 at 10" in page
    assert re.search(r"<td>train\.lr</td><td>0\.001</td><td>0\.002</td>", page)
    assert page.count("<img") == 5  # the loss, and two scores of two sets
    assert "http" not in page  # nothing is fetched


def test_what_is_no_training_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no trainings in this folder"):
        find_runs(tmp_path)
    leave(tmp_path, "a", [30])
    with pytest.raises(UsageError, match=r"b: no training here; expected one of a$"):
        find_runs(tmp_path, ["b"])
    (tmp_path / "a/options.json").write_text("[]")
    with pytest.raises(UsageError, match=r"options\.json: damaged"):
        find_runs(tmp_path)
