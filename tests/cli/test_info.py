"""What the machine has."""

from __future__ import annotations

import re
from pathlib import Path

from support import CPU_ENGINE, bgai_command

import bgai


def test_info_says_what_is_picked_and_why(tmp_path: Path) -> None:
    result = bgai_command("info", cwd=tmp_path)
    assert result.returncode == 0
    assert bgai.__version__ in result.stdout
    assert "picked" in result.stdout
    assert f"{CPU_ENGINE} on cpu: the" in result.stdout or "PyTorch sees a GPU" in result.stdout


def test_info_says_where_the_engine_native_comes_from(tmp_path: Path) -> None:
    line = next(line for line in bgai_command("info", cwd=tmp_path).stdout.splitlines() if " native " in line)
    assert re.search(r" native +([\w-]+, compiled by g\+\+ once|not here: the engine native) ?", line)
    assert ("not here" in line) == (CPU_ENGINE == "openvino")
