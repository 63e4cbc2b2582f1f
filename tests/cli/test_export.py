"""Exporting weights, by the command."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image
from support import bgai_command, filled_network, picture, released, served_folder

from bgai.weights.checkpoint import load_network


def test_official_weights_run_and_are_exported_without_torch(tmp_path: Path) -> None:
    """From a mirror on this machine, whose file stands in for the authors'."""
    picture(tmp_path / "a.png")
    torch.save({"params_ema": released(filled_network(2).state_dict())}, tmp_path / "BGAI_x2.pth")
    content = (tmp_path / "BGAI_x2.pth").read_bytes()
    pinned = f"bgai.weights.sources.OFFICIAL[2] = Pinned({len(content)}, {hashlib.sha256(content).hexdigest()!r})"
    code = f"""
import sys
sys.modules["torch"] = None
import bgai.weights.sources
from bgai.weights.sources import Pinned
{pinned}
from bgai.__main__ import main
main()
"""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "BGAI_OFFICIAL_URL": url, "BGAI_CACHE": str(tmp_path / "cache")}
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, env=environment
        )

    with served_folder(tmp_path) as url:
        listed = run("weights", "--download", "--scale", "2", "--json")
        assert listed.returncode == 0, listed.stderr
        assert json.loads(listed.stdout)[-1]["file"] == str(tmp_path / "cache/official/BGAI_x2.pth")
    for name, arguments in {
        "b.png": ("upscale", "a.png", "--scale", "2", "--weights", "official", "-o", "b.png"),
        "b.safetensors": ("export", "official", "--scale", "2", "-o", "b.safetensors"),
        "c.png": ("upscale", "a.png", "--weights", "b.safetensors", "-o", "c.png"),
    }.items():
        result = run(*arguments)
        assert result.returncode == 0, result.stderr
        assert result.stdout == f"{name}\n"
    assert Image.open(tmp_path / "b.png").tobytes() == Image.open(tmp_path / "c.png").tobytes()
    network = load_network(tmp_path / "b.safetensors")
    for tensor, expected in zip(network.parameters(), filled_network(2).parameters(), strict=True):
        assert torch.equal(tensor, expected)


def test_half_precision_is_for_graphs(tmp_path: Path) -> None:
    refused = bgai_command("export", "bgai", "--half", "-o", "a.safetensors", cwd=tmp_path)
    assert refused.returncode != 0
    assert "a.safetensors: weights are stored in float32; half is for an .onnx file (--half)" in refused.stderr.replace(
        "\n", " "
    )
    assert not list(tmp_path.iterdir())
