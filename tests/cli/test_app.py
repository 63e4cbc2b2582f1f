"""Errors, options and help of all commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import bgai_command, picture

import bgai

WRONG = {
    "missing": (["upscale", "no.png"], "no.png: cannot be read: No such file"),
    "scale": (["upscale", "a.png", "--scale", "5"], "scale 5: expected one of 2, 3 and 4"),
    "weights": (["upscale", "a.png", "--weights", "best"], "best: no such file"),
    "clean": (["upscale", "a.png", "--clean", "2"], "clean 2: expected 0 to 1"),
    "clean-weights": (["upscale", "a.png", "--clean", "1", "--weights", "official"], "leave out weights official"),
    "bench-auto": (["bench", "--weights", "auto"], "weights 'auto' look at each picture's file"),
    "not-weights": (["upscale", "a.png", "--weights", "a.png"], "expected an .onnx, .safetensors or .pth"),
    "device": (["upscale", "a.png", "--device", "cuda:77"], "device 'cuda:77' cannot be used"),
    "compile": (["upscale", "a.png", "--device", "cpu", "--compile"], "for --device cuda alone"),
    "tile": (["upscale", "a.png", "--tile", "100"], "tile 100: expected a multiple of 16"),
    "format": (["upscale", "a.png", "--format", "gif"], "format 'gif'"),
    "limit": (["upscale", "a.png", "--max-megapixels", "0.0001"], "--max-megapixels"),
    "suffix": (["upscale", "a.png", "-o", "b.xyz"], "unknown output format .xyz"),
    "infinite": (["upscale", "a.png", "--max-megapixels", "inf"], "limit of inf megapixels"),
    "graph": (["export", "a.png", "-o", "b.onnx"], "expected an .onnx, .safetensors or .pth"),
    "prepare": (["prepare", "no"], "no: no such folder"),
    "step": (["prepare", ".", "--step", "100"], "step 100: expected a multiple"),
    "bench-size": (["bench", "--size", "640"], "size '640': expected WIDTHxHEIGHT"),
    "bench-engine": (["bench", "--engine", "magic"], "engine 'magic': expected one of"),
    "bench-rounds": (["bench", "--rounds", "0", "--json", "b.json"], "0 rounds: expected 1 or more"),
    "bench-threads": (["bench", "--threads", "0"], "0 threads: expected 1 to"),
    "bench-plot": (["bench", "--plot", "b.txt"], "b.txt: expected a name that ends in .png"),
    "bench-output": (["bench", "--json", "a.png/b.json"], "a.png: cannot be made a folder"),
    "export": (["export", "a.onnx", "-o", "b.onnx"], "no such file"),
    "list-scale": (["weights", "--scale", "5"], "scale 5: expected one of 2, 3 and 4"),
    "list-file": (["weights", "a.png"], "expected an .onnx, .safetensors or .pth"),
    "list-download": (["weights", "bgai", "--download"], "nothing to download"),
    "download-scale": (["weights", "--download", "--scale", "5"], "scale 5: expected one of 2, 3 and 4"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_one_clear_line(name: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    arguments, message = WRONG[name]
    result = bgai_command(*arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert sum(line.startswith("bgai: ") for line in result.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == ["a.png"]  # noqa: PTH208


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    result = bgai_command("--debug", "upscale", "a.png", "--scale", "5", cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_version(tmp_path: Path) -> None:
    assert bgai_command("--version", cwd=tmp_path).stdout.strip() == f"bgai {bgai.__version__}"
