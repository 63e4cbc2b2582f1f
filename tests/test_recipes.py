"""The recipes of the documentation are run as they stand, but for their length."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support import texture

ROOT = Path(__file__).parents[1]
SHORT = {
    "train:minutes": "0.01",
    "train:total_iter": "2",
    "num_gpu": "0",
    "datasets:train:batch_size_per_gpu": "1",
}


def commands(page: str) -> dict[str, list[str]]:
    """The commands below each heading of a page."""
    sections = re.split(r"^## ", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {section.splitlines()[0]: re.findall(r"^    (.+)$", section, flags=re.MULTILINE) for section in sections}


def shortened(command: str) -> str:
    """A training of seconds, on a CPU: options given later replace those given before."""
    if "-opt options/train" not in command:
        return command
    by_iterations = "train:total_iter=" in command
    short = {
        key: value for key, value in SHORT.items() if key != ("train:minutes", "train:total_iter")[not by_iterations]
    }
    more = " ".join(f"{key}={value}" for key, value in short.items())
    return command.replace("; done", f" {more}; done") if "; done" in command else f"{command} {more}"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands need of a clone, with a few small photographs and test sets."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "options", folder / "options")
    shutil.copy(ROOT / "train.py", folder)
    (folder / "examples").mkdir()
    Image.fromarray(texture(40, 50)).save(folder / "examples/cat.jpg")
    for name, size, count in (
        ("datasets/mine", (200, 210), 3),
        ("datasets/photographs", (200, 210), 3),
        ("datasets/Set5/HR_mod4", (64, 64), 1),
        ("testsets/Set14/HR_mod4", (64, 64), 1),
    ):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(texture(*size, seed=index)).save(folder / name / f"{index}.png")
    for name in ("datasets/Set5/X4",):
        (folder / name).mkdir()
        Image.fromarray(texture(16, 16)).save(folder / name / "0.png")
    return folder


def run(clone: Path, line: str) -> str:
    """Run a command as a page has it, but for its length, and return what it wrote to standard error."""
    binaries = clone / "bin"
    binaries.mkdir(exist_ok=True)
    for name, module in (("bgai", "bgai"), ("torchrun", "torch.distributed.run")):
        (binaries / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (binaries / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    command = ["bash", "-c", shortened(line)]
    result = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{line}\n{result.stdout[-1000:]}{result.stderr[-2000:]}"
    return result.stderr


@pytest.mark.slow
def test_recipes_run_as_they_stand(clone: Path) -> None:
    for lines in commands("recipes.md").values():
        for line in lines:
            if not line.startswith(("pip ", "hf ")):  # these go to the network
                assert "FutureWarning" not in run(clone, line)
    assert (clone / "comparison.html").is_file()
    assert (clone / "results/l1_0/report.html").is_file()
    assert (clone / "mine_x4.pth").is_file()


@pytest.mark.slow
def test_the_first_training_runs_as_it_stands(clone: Path) -> None:
    """Without the lines that go to the network, show something for ever, or need what was downloaded."""
    lines = [line for lines in commands("first-training.md").values() for line in lines if line.startswith("bgai ")]
    assert len(lines) == 7
    for line in lines:
        run(clone, line)
    pictures = clone / "experiments/first_X4/visualization/Set5"
    assert [path.name for path in pictures.iterdir()] == ["0_latest.png"]
    for name in (
        "experiments/runs.html",
        "results/first_X4/report.html",
        "cat_x4.png",
        "first_x4.pth",
        "first_x4.onnx",
    ):
        assert (clone / name).is_file(), name


def test_the_pages_have_the_recipes() -> None:
    assert len(commands("recipes.md")) == 6
    assert all(commands("recipes.md").values())
