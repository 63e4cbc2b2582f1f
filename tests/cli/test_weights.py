"""Listing weights, by the command."""

from __future__ import annotations

import json
from pathlib import Path

from rich.text import Text
from support import bgai_command, copied

from bgai.weights import sources as bgai_weights
from bgai.weights.history import Run, as_json


def test_weights_are_listed(tmp_path: Path) -> None:
    shown = bgai_command("weights", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "bgai ×3\n" in shown.stdout
    assert f"    {bgai_weights.SHIPPED / 'bgai_x3.safetensors'}\n" in shown.stdout
    assert f"    to be downloaded from {bgai_weights.official_urls(4)[0]}\n" in shown.stdout
    found = json.loads(bgai_command("weights", "--json", "--scale", "2", cwd=tmp_path).stdout)
    assert {(entry["name"], entry["scale"]) for entry in found} >= {("bgai", 2), ("official", 2)}
    assert found[-1]["file"] is None


def test_weights_of_a_file_on_a_narrow_terminal(tmp_path: Path) -> None:
    purpose = "pictures of many" + " words" * 20
    history = as_json([Run(4, 1000, 12.5, "a book", "output 1", seed, "0123456789abc-dirty") for seed in (3, 4)])
    scores = '{"Set5": {"psnr": 37.5, "ssim": 0.95}}'
    copied(tmp_path / "a.safetensors", purpose=purpose, scores=scores, history=history)
    narrow = bgai_command("weights", "a.safetensors", cwd=tmp_path, FORCE_COLOR="1", COLUMNS="40")
    assert narrow.returncode == 0, narrow.stderr
    lines = [Text.from_ansi(line).plain.rstrip() for line in narrow.stdout.splitlines()]
    assert lines[0] == "a.safetensors ×2"
    assert all(line.startswith("    ") and len(line) <= 40 for line in lines[1:])
    assert "    Set5 37.50 dB / 0.9500" in lines
    piped = bgai_command("weights", "a.safetensors", cwd=tmp_path, COLUMNS="40")
    assert f"    {purpose}\n" in piped.stdout
    assert (
        "    1,000 iterations at ×4 in 12.5 minutes on a book; loss output 1; seed 4; commit 0123456789-dirty\n"
        in piped.stdout
    )
