"""What the machine has."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from support import bgai_command

import bgai


def test_info_says_what_is_picked_and_why(tmp_path: Path) -> None:
    result = bgai_command("info", cwd=tmp_path)
    assert result.returncode == 0
    assert bgai.__version__ in result.stdout
    assert "picked" in result.stdout
    assert "openvino on cpu: the fastest on a CPU" in result.stdout or "PyTorch sees a GPU" in result.stdout


def test_info_says_whether_the_kernel_can_be_compiled(tmp_path: Path) -> None:
    compiler = shutil.which("g++") if sys.platform == "linux" else None
    expected = f"native    on request, compiled by {compiler}" if compiler else "native    not here: the engine native"
    assert expected in bgai_command("info", cwd=tmp_path).stdout
