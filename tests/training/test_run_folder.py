"""The folder of a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import texture

from bgai.errors import UsageError, WeightsError
from bgai.training.run_folder import Experiment, load_state


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return Experiment(tmp_path, "run")


def save(experiment: Experiment, *iterations: int) -> None:
    for iteration in iterations:
        experiment.save_state(iteration, {"iteration": iteration, "network": torch.tensor([iteration])})


def test_the_newest_states_are_kept(experiment: Experiment) -> None:
    save(experiment, 5, 10, 200, 1000)
    assert {path.name for path in experiment.states.iterdir()} == {"10.state", "200.state", "1000.state"}
    state = experiment.newest_state(pytest.fail)
    assert state is not None
    assert state["network"].item() == 1000


def test_damaged_states_are_passed_over(experiment: Experiment) -> None:
    save(experiment, 10, 200, 1000)
    path = experiment.states / "1000.state"
    path.write_bytes(path.read_bytes()[:-100])
    (experiment.states / "200.state").write_bytes(b"")
    complaints: list[str] = []
    state = experiment.newest_state(complaints.append)
    assert state is not None
    assert state["iteration"] == 10
    assert len(complaints) == 2
    assert "1000.state: damaged, or not a training state; trying the one before" in complaints[0]


def test_a_flipped_bit_in_the_newest_state_is_noticed(experiment: Experiment) -> None:
    for iteration in (1, 2):
        experiment.save_state(iteration, {"iteration": iteration, "network": torch.full((1000,), float(iteration))})
    newest = experiment.states / "2.state"
    content = bytearray(newest.read_bytes())
    content[content.index(np.full(1000, 2, np.float32).tobytes()) + 2000] ^= 1
    newest.write_bytes(content)
    complaints: list[str] = []
    state = experiment.newest_state(complaints.append)
    assert state
    assert state["iteration"] == 1
    assert complaints == [f"{newest}: damaged, or not a training state; trying the one before"]


def test_no_state_is_none(experiment: Experiment) -> None:
    assert experiment.newest_state(pytest.fail) is None


def test_other_files_are_no_states(tmp_path: Path) -> None:
    torch.save({"params": {}}, tmp_path / "5.state")
    with pytest.raises(WeightsError, match="not a training state of this program"):
        load_state(tmp_path / "5.state")
    with pytest.raises(UsageError, match="no such training state"):
        load_state(tmp_path / "6.state")


def test_a_new_training_keeps_the_old_one(experiment: Experiment, tmp_path: Path) -> None:
    save(experiment, 5)
    (experiment.folder / "train.log").write_text("")
    experiment.begin()
    assert not experiment.folder.exists()
    (kept,) = tmp_path.glob("run_archived_*")
    assert (kept / "training_states/5.state").exists()


def test_a_training_that_saved_nothing_is_not_worth_keeping(experiment: Experiment) -> None:
    experiment.folder.mkdir()
    experiment.begin()
    assert experiment.folder.exists()


def test_a_training_that_goes_back_sets_aside_what_came_after(experiment: Experiment) -> None:
    save(experiment, 5, 10, 20)
    experiment.log.write_text("records")
    models = experiment.folder / "models"
    models.mkdir()
    for name in ("5", "20", "best", "latest"):
        experiment.weights(name).write_text(name)
    (experiment.states / ".bgai-0.partial").touch()
    archive = experiment.go_back_to(5)
    assert archive is not None
    assert sorted(path.relative_to(archive).as_posix() for path in archive.rglob("*.*")) == [
        "log.jsonl",
        "models/net_g_20.safetensors",
        "models/net_g_best.safetensors",
        "training_states/10.state",
        "training_states/20.state",
    ]
    assert load_state(archive / "training_states/20.state")["iteration"] == 20
    assert experiment.log.read_text() == "records"
    save(experiment, 6)
    assert {path.name for path in experiment.states.iterdir()} == {"5.state", "6.state"}
    assert {path.name for path in models.iterdir()} == {"net_g_5.safetensors", "net_g_latest.safetensors"}
    assert experiment.go_back_to(6) is None


def test_pictures_stay_in_their_folder(experiment: Experiment) -> None:
    hr = texture(20, 16)
    with pytest.raises(UsageError, match="cannot be the name of a file below"):
        experiment.save_picture("Set5", "a\x00b", hr)


def test_pictures_of_deep_names_lie_side_by_side(experiment: Experiment) -> None:
    experiment.save_picture("Set5", "deep/name_5", texture(20, 16))
    pixels = np.asarray(Image.open(experiment.folder / "visualization/Set5/deep_name_5.png"))
    np.testing.assert_array_equal(pixels, texture(20, 16))
