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
    for name, size, count in (
        ("datasets/mine", (200, 210), 3),
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


@pytest.mark.slow
def test_recipes_run_as_they_stand(clone: Path) -> None:
    binaries = clone / "bin"
    binaries.mkdir()
    for name, module in (("bgai", "bgai"), ("torchrun", "torch.distributed.run")):
        (binaries / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (binaries / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    for title, lines in commands("recipes.md").items():
        for line in lines:
            if line.startswith(("pip ", "hf ")):  # these go to the network
                continue
            result = subprocess.run(
                ["bash", "-c", shortened(line)], cwd=clone, env=environment, capture_output=True, text=True, check=False
            )
            assert result.returncode == 0, f"{title}: {line}\n{result.stdout[-1000:]}{result.stderr[-2000:]}"
            assert "FutureWarning" not in result.stderr
    assert (clone / "comparison.html").is_file()
    assert (clone / "results/l1_0/report.html").is_file()
    assert (clone / "mine_x4.pth").is_file()


def test_the_pages_have_the_recipes() -> None:
    assert len(commands("recipes.md")) == 6
    assert all(commands("recipes.md").values())
