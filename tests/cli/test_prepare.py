"""Cutting sub-images, by the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image
from support import bgai_command, picture


def test_sub_images_are_prepared_and_their_folders_named(tmp_path: Path) -> None:
    (tmp_path / "set_HR").mkdir()
    picture(tmp_path / "set_HR/a.png", 24, 36)
    arguments = ("prepare", "set_HR", "--scale", "2", "--scale", "3", "--crop", "24", "--step", "12", "--lmdb")
    result = bgai_command(*arguments, "-o", "out", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "out/set_HR_sub",
        "out/set_LR_bicubic/X2_sub",
        "out/set_LR_bicubic/X3_sub",
        "out/set_HR_sub.lmdb",
        "out/set_LR_bicubic_X2_sub.lmdb",
        "out/set_LR_bicubic_X3_sub.lmdb",
    ]
    assert "1 cut" in result.stderr
    assert Image.open(tmp_path / "out/set_LR_bicubic/X3_sub/a_s002.png").size == (8, 8)
    (tmp_path / "set_HR/b.png").write_text("no picture")
    again = bgai_command(*arguments, "-o", "out2", cwd=tmp_path)
    assert again.returncode == 1
    assert "bgai: set_HR/b.png: not a picture" in again.stderr
    assert "1 cut, 1 failed" in again.stderr


def test_div2k_is_cut_from_the_clone_without_arguments(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).parents[2] / "extract_subimages.py")]
    missing = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert missing.returncode == 1
    assert missing.stderr.strip() == "bgai: datasets/DIV2K/DIV2K_train_HR: no such folder of images"
    folder = tmp_path / "datasets/DIV2K"
    (folder / "DIV2K_train_HR").mkdir(parents=True)
    (folder / "DIV2K_train_LR_bicubic/X4").mkdir(parents=True)
    picture(folder / "DIV2K_train_HR/0001.png", 480, 612)
    lr = picture(folder / "DIV2K_train_LR_bicubic/X4/0001x4.png", 120, 153)
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert Image.open(folder / "DIV2K_train_HR_sub/0001_s002.png").size == (480, 480)
    for scale in (2, 3, 4):
        sub_image = folder / f"DIV2K_train_LR_bicubic/X{scale}_sub/0001_s002.png"
        assert Image.open(sub_image).size == (480 // scale, 480 // scale)
    assert Image.open(sub_image).tobytes() == Image.open(lr).crop((33, 0, 153, 120)).tobytes()
