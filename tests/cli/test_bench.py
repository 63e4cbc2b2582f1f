"""Measuring engines, by the command."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image
from support import CPU_ENGINE, bgai_command

from bgai.benchmark import report as bench_report


def test_a_measurement_is_shown_and_kept(tmp_path: Path) -> None:
    outputs = ("--json", "a.json", "--markdown", "a.md", "--plot", "a.png")
    result = bgai_command("bench", "--size", "16x24", "--rounds", "2", "--threads", "1", *outputs, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "16 x 24 to 64 x 96" in result.stdout
    assert "times openvino's" in result.stdout
    assert bench_report.NOTE in result.stdout  # on one line: a pipe is as wide as it has to be
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["threads"] == 1
    assert record["settings"] == {"weights": "bgai", "device": "auto", "rounds": 2, "warm_ups": 2}
    (comparison,) = record["comparisons"]
    assert [(result["name"], len(result["seconds"]), result["error"]) for result in comparison["results"]] == [
        (name, 2, "") for name in dict.fromkeys(["openvino", CPU_ENGINE, "torch"])
    ]
    assert "| torch |" in (tmp_path / "a.md").read_text()
    assert Image.open(tmp_path / "a.png").format == "PNG"


def test_a_measurement_for_which_memory_is_short_says_so(tmp_path: Path) -> None:
    result = bgai_command(
        "bench", "--size", "99999999x9999999", "--engine", "openvino", "--json", "a.json", cwd=tmp_path
    )
    assert result.returncode == 1
    assert "not run: Unable to allocate" in result.stdout
    (message,) = result.stderr.strip().splitlines()
    assert "bgai: 99999999 x 9999999 to 399999996 x 39999996: openvino: Unable to allocate" in message
    assert "Unable to allocate" in (tmp_path / "a.json").read_text()
