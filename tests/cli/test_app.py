"""Errors, options and help of all commands."""

from __future__ import annotations

import os
import subprocess
import sys
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
    "compile": (["upscale", "a.png", "--device", "cpu", "--compile"], "for the device cuda alone"),
    "tile": (["upscale", "a.png", "--tile", "100"], "tile 100: expected a multiple of 16"),
    "format": (["upscale", "a.png", "--format", "psd"], "format 'psd'"),
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


COMMANDS = ["upscale", "weights", "export", "info", "bench", "prepare", "train", "test"]


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_every_command_explains_itself(command: str | None, tmp_path: Path) -> None:
    arguments = [command, "-h"] if command else ["-h"]
    short = bgai_command(*arguments, cwd=tmp_path)
    assert short.returncode == 0
    assert "Usage: bgai" in short.stdout
    assert short.stdout == bgai_command(*arguments[:-1], "--help", cwd=tmp_path).stdout


def test_a_choice_that_there_is_not(tmp_path: Path) -> None:
    for command, option, value in (
        ("upscale", "--engine", "magic"),
        ("upscale", "--precision", "float16"),
        ("train", "--launcher", "slurm"),
    ):
        result = bgai_command(command, "a.png", option, value, cwd=tmp_path)
        assert result.returncode == 2
        assert f"'{value}' is not one of" in result.stderr
        assert result.stdout == ""


def test_a_message_names_the_option_that_would_help(tmp_path: Path) -> None:
    result = bgai_command("bench", "--size", "640", cwd=tmp_path)
    assert result.stderr == "bgai: size '640': expected WIDTHxHEIGHT in pixels, such as 640x480 (--size)\n"


@pytest.mark.parametrize("extra", ["train", "test"])
def test_a_missing_extra_is_named_and_its_cause_kept(extra: str, tmp_path: Path) -> None:
    code = "import sys; sys.modules['yaml'] = None; from bgai.__main__ import main; main()"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)

    result = run(extra, "-opt", "a.yml")
    assert result.returncode == 1
    hint = "install it with  pip install 'bgai[train]'"
    assert result.stderr == f"bgai: bgai {extra} needs the extra 'train': {hint}\n"
    debugged = run("--debug", extra, "-opt", "a.yml").stderr
    assert "ModuleNotFoundError: import of yaml halted" in debugged
    assert "MissingExtraError" in debugged


@pytest.mark.parametrize(
    ("words", "expected"),
    [("bgai up", "upscale"), ("bgai upscale --eng", "--engine"), ("bgai upscale --engine op", "openvino")],
)
def test_the_shell_completes_commands_options_and_values(words: str, expected: str, tmp_path: Path) -> None:
    count = len(words.split()) - 1
    environment = {"_BGAI_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    assert expected in bgai_command(cwd=tmp_path, **environment).stdout.split()
