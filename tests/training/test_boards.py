"""TensorBoard's files, and runs of Weights & Biases."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import texture

from bgai.errors import BgaiError
from bgai.options.training import TrainOptions
from bgai.training.boards import open_boards
from bgai.training.log_files import Journal


def options(**logger: Any) -> TrainOptions:
    train = {"name": "photos", "dataroot_gt": "/home/someone/photos", "gt_size": 32, "batch_size_per_gpu": 2}
    return TrainOptions.model_validate(
        {
            "name": "run",
            "scale": 2,
            "datasets": {"train": train},
            "train": {"optim_g": {"lr": 1e-3}, "scheduler": {"type": "CosineAnnealingLR"}, "total_iter": 2},
            "logger": logger,
        }
    )


def test_tensorboard_gets_numbers_and_pictures(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
        EventAccumulator,
    )

    boards, notes = open_boards(options(use_tb_logger=True), tmp_path, 0)
    journal = Journal(tmp_path, 0, boards)
    journal.record(7, loss=0.25)
    journal.picture(4, "Set5/bird", texture(20, 30))
    journal.close()
    events = EventAccumulator(str(tmp_path / "tb_logger")).Reload()
    (event,) = events.Scalars("loss")
    assert (event.step, event.value) == (7, 0.25)
    (picture,) = events.Images("Set5/bird")
    assert (picture.step, picture.height, picture.width) == (4, 20, 30)
    assert notes == []


def test_nothing_is_shown_unless_asked_for(tmp_path: Path) -> None:
    assert open_boards(options(), tmp_path, 0) == ([], [])
    assert list(tmp_path.iterdir()) == []


def test_without_wandb_a_note_says_that_nothing_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    boards, notes = open_boards(options(wandb={"project": "hat"}), tmp_path, 0)
    assert boards == []
    assert notes == ["wandb project hat: nothing is sent; to send, pip install 'bgai[wandb]'"]


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for runs that send nothing and know no account."""
    pytest.importorskip("wandb", reason="needs the extra 'wandb'")
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


# In a process of its own: wandb starts a service and keeps threads.
RUN = """
import sys
from pathlib import Path
from support import texture
from bgai.options.training import TrainOptions
from bgai.training.boards import open_boards

folder, iteration = Path(sys.argv[1]), int(sys.argv[2])
(board,), _ = open_boards(TrainOptions.model_validate_json(sys.argv[3]), folder, iteration)
board.numbers(iteration + 1, {"loss": 0.5, "validation/Set5/psnr": 30.0})
board.picture(iteration + 1, "Set5/bird", texture(20, 30))
board.close()
"""


def run(folder: Path, iteration: int = 0, resume_id: str | None = None) -> str:
    settings = options(wandb={"project": "hat", "resume_id": resume_id}).as_json()
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    result = subprocess.run(
        [sys.executable, "-c", RUN, str(folder), str(iteration), settings],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    return (folder / "wandb_id").read_text().strip()


def test_wandb_gets_numbers_pictures_and_settings(offline: Path) -> None:
    identity = run(offline)
    (record,) = offline.glob(f"wandb/offline-run-*/run-{identity}.wandb")
    content = record.read_bytes()
    for text in (b"hat", b"validation/Set5/psnr", b"CosineAnnealingLR", b"batch_size_per_gpu"):
        assert text in content
    assert b"/home/someone" not in content  # where things lie is not sent
    assert len(list(offline.glob("wandb/offline-run-*/files/media/images/Set5/*.png"))) == 1


@pytest.mark.slow
def test_a_training_that_goes_on_continues_its_run(offline: Path) -> None:
    identity = run(offline)
    assert run(offline, iteration=100) == identity
    assert run(offline) != identity  # a new training of the same name
    assert run(offline, resume_id="chosen") == "chosen"


def test_without_a_login_wandb_is_one_line(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(BgaiError, match=r"wandb: .*Or set WANDB_MODE=offline"):
        open_boards(options(wandb={"project": "hat"}), offline, 0)
