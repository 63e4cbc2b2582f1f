"""Training, by the commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support import bgai_command, picture

ROOT = Path(__file__).parents[2]
OPTION_FILE = "options/train/BGAI/train_BGAI_x2.yml"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-opt", "no.yml"], "no.yml: cannot be read: No such file"),
        (["-opt", ROOT / OPTION_FILE, "--force_yml", "train:lrr=1"], "unknown key 'lrr'; did you mean 'lr'?"),
        (["-opt", ROOT / OPTION_FILE, "scale=3"], "scale=3: expected nothing here"),
        (["-opt", ROOT / OPTION_FILE, "--force_yml", "num_gpu=0"], "datasets/DIV2K/DIV2K_train_HR_sub: no such folder"),
    ],
)
def test_training_refuses_in_one_line(tmp_path: Path, arguments: list[str | Path], message: str) -> None:
    result = bgai_command("train", *arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_original_command_trains_from_the_clone(tmp_path: Path) -> None:
    for name in ("DIV2K/DIV2K_train_HR_sub", "DIV2K/DIV2K_train_LR_bicubic/X2_sub", "Set5/HR_mod2", "Set5/X2"):
        (tmp_path / "datasets" / name).mkdir(parents=True)
        side = 64 if "HR" in name else 32
        picture(tmp_path / "datasets" / name / "0001_s001.png", side, side)
    small = "network_g={channels: 8, broadcast_channels: 4, local_channels: 2, groups: 1}"
    forced = ["num_gpu=0", "train:total_iter=2", "datasets:train:num_worker_per_gpu=0", small]
    sizes = ["datasets:train:batch_size_per_gpu=1", "datasets:train:gt_size=64"]
    result = subprocess.run(
        [
            sys.executable,
            ROOT / "train.py",
            "-opt",
            ROOT / OPTION_FILE,
            "--auto_resume",
            *("--force_yml", *forced, *sizes),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "iteration 2 of 2" in result.stdout
    assert (tmp_path / "experiments/train_BGAI_X2/models/net_g_latest.safetensors").exists()
