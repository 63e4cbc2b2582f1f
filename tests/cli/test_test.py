"""`bgai test` and the scripts of the original project's names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support import bgai_command, texture

ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        Image.fromarray(texture(40, 40)).save(tmp_path / name / "a.png")
    metric = {"type": "calculate_psnr", "crop_border": 2}
    values = {
        "name": "run",
        "scale": 2,
        "datasets": {f"test_{name}": {"name": name, "dataroot_gt": name} for name in ("one", "two")},
        "val": {"metrics": {"psnr": metric}},
    }
    (tmp_path / "test.yml").write_text(json.dumps(values))  # JSON is YAML
    return tmp_path / "test.yml"


def run(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    result = bgai_command("test", "-opt", file, *arguments, cwd=file.parent)
    assert result.returncode == 0, result.stderr
    return result


def test_only_the_chosen_set_is_printed(file: Path) -> None:
    printed = run(file).stdout
    assert "one" in printed
    assert "two" in printed
    printed = run(file, "--only", "two").stdout
    assert "one" not in printed
    assert "two" in printed


def test_images_without_references_and_other_networks_are_said(file: Path) -> None:
    values = json.loads(file.read_text())
    values |= {"model_type": "ESRGANModel", "datasets": {}, "val": {"save_img": True}}
    values["datasets"]["test_1"] = {"name": "one", "type": "SingleImageDataset", "dataroot_lq": "one"}
    file.write_text(json.dumps(values))
    result = run(file, "--debug")
    assert result.stdout.strip().endswith("results/debug_run/visualization")
    assert "note: model_type ESRGANModel: taken as SRModel" in result.stderr
    assert (file.parent / "results/debug_run/visualization/one/a_debug_run.png").is_file()


@pytest.mark.parametrize("script", ["train.py", "basicsr/train.py", "basicsr/test.py"])
def test_the_original_names_are_commands(script: str) -> None:
    text = subprocess.run([sys.executable, ROOT / script, "-h"], capture_output=True, text=True, check=True).stdout
    assert "--force_yml" in text


def test_options_of_a_cluster(file: Path) -> None:
    result = bgai_command("test", "-opt", file, "--cluster", "auto", "--worker-cpus", "0", cwd=file.parent)
    assert result.returncode == 1
    assert result.stderr == "bgai: 0 CPU cores a worker: expected 1 or more (--worker-cpus)\n"
