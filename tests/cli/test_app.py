"""The command line, as a person uses it: in a process of its own."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from rich.text import Text
from support import copied, filled_network, released, served_folder, texture

import bgai
from bgai.benchmark import report as bench_report
from bgai.cli import app as cli
from bgai.weights import sources as bgai_weights
from bgai.weights.checkpoint import load_network
from bgai.weights.history import Run, as_json


def bgai_command(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bgai", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80", **environment},
    )


def picture(path: Path, height: int = 12, width: int = 18) -> Path:
    Image.fromarray(texture(height, width)).save(path)
    return path


def test_a_picture_is_enlarged_and_its_name_printed(tmp_path: Path) -> None:
    picture(tmp_path / "a [1].png")
    result = bgai_command("upscale", "a [1].png", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "a [1]_x4.png"
    assert "1 enlarged" in result.stderr
    assert Image.open(tmp_path / "a [1]_x4.png").size == (72, 48)


def test_a_folder_with_a_bad_file_goes_on_and_says_what_failed(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    picture(photos / "good.png")
    (photos / "bad.png").write_text("no picture")
    (photos / "empty.jpg").touch()
    result = bgai_command("upscale", "photos", "-o", "out", cwd=tmp_path)
    assert result.returncode == 1
    assert "photos/bad.png: not a picture" in result.stderr
    assert "photos/empty.jpg: the file is empty" in result.stderr
    assert "1 enlarged, 2 failed" in result.stderr
    assert os.listdir(tmp_path / "out") == ["good.png"]  # noqa: PTH208
    (photos / "bad.png").unlink()
    (photos / "empty.jpg").unlink()
    again = bgai_command("upscale", "photos", "-o", "out", cwd=tmp_path)
    assert again.returncode == 0
    assert "0 enlarged, 1 finished before" in again.stderr


def test_the_weights_of_each_picture_are_told_and_names_stay_bare(tmp_path: Path, photo_weights: Path) -> None:
    Image.fromarray(texture(12, 18)).save(tmp_path / "a.jpg", quality=60)
    picture(tmp_path / "b.png")
    code = (
        f"import pathlib; from bgai.weights import sources; sources.SHIPPED = pathlib.Path({str(photo_weights)!r});"
        "import sys; sys.argv = ['bgai', 'upscale', 'a.jpg', 'b.png']; from bgai.__main__ import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["a_x4.jpg", "b_x4.png"]
    assert "a_x4.jpg  (photo weights: JPEG of quality about 60)\n" in result.stderr
    assert "b_x4.png  (bgai weights: lossless PNG)\n" in result.stderr


def test_on_a_terminal_the_weights_stand_beside_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, messages = io.StringIO(), io.StringIO()
    monkeypatch.setattr(cli, "out", Console(file=shown, force_terminal=True, width=20))
    monkeypatch.setattr(cli, "err", Console(file=messages))
    cli._name_output(Path("a [1].png"), "bgai weights: lossless PNG")
    assert shown.getvalue() == "a [1].png  (bgai weights: lossless PNG)\n"
    assert messages.getvalue() == ""


WRONG = {
    "missing": (["upscale", "no.png"], "no.png: cannot be read: No such file"),
    "scale": (["upscale", "a.png", "--scale", "5"], "scale 5: expected one of 2, 3 and 4"),
    "weights": (["upscale", "a.png", "--weights", "best"], "best: no such file"),
    "clean": (["upscale", "a.png", "--clean", "2"], "clean 2: expected 0 to 1"),
    "clean-weights": (["upscale", "a.png", "--clean", "1", "--weights", "official"], "leave out weights official"),
    "bench-auto": (["bench", "--weights", "auto"], "weights 'auto' look at each picture's file"),
    "not-weights": (["upscale", "a.png", "--weights", "a.png"], "expected an .onnx, .safetensors or .pth"),
    "engine": (["upscale", "a.png", "--engine", "magic"], "engine 'magic': expected one of"),
    "device": (["upscale", "a.png", "--device", "cuda:77"], "device 'cuda:77' cannot be used"),
    "precision": (["upscale", "a.png", "--precision", "float16"], "precision 'float16': expected one of float32, half"),
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


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read and write everything")
def test_no_permission_is_one_clear_line(tmp_path: Path) -> None:
    picture(tmp_path / "a.png").chmod(0)
    result = bgai_command("upscale", "a.png", cwd=tmp_path)
    assert "Permission denied" in result.stderr
    assert result.returncode == 1


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 100, 100)
    limit = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
    code = limit + "sys.argv = ['bgai', 'upscale', 'a.png']; runpy.run_module('bgai', run_name='__main__')"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "a_x4.png: cannot be written: File too large" in result.stderr
    assert os.listdir(tmp_path) == ["a.png"]  # noqa: PTH208


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", [["--version"], ["info"]], ids=str)
def test_a_terminal_that_takes_nothing_is_one_clear_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "bgai", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 1
    assert result.stderr == "bgai: an output: No space left on device; --debug shows where\n"


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.skipif(os.name == "nt", reason="ends a process at once there")),
    ],
)
def test_an_interrupt_leaves_no_half_output(number: signal.Signals, tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 600, 600)
    command = [sys.executable, "-m", "bgai", "upscale", "a.png", "--tile", "112"]
    # Ignored, as it is below a shell that started the tests in the background, it would be ignored by the child too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    for _ in range(300):
        if list(tmp_path.glob(".bgai-*.partial")):
            break
        time.sleep(0.1)
    process.send_signal(number)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; what was finished is kept" in messages
    assert os.listdir(tmp_path) == ["a.png"]  # noqa: PTH208


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


def test_info_says_what_is_picked_and_why(tmp_path: Path) -> None:
    result = bgai_command("info", cwd=tmp_path)
    assert result.returncode == 0
    assert bgai.__version__ in result.stdout
    assert "picked" in result.stdout
    assert "openvino on cpu: the fastest on a CPU" in result.stdout or "PyTorch sees a GPU" in result.stdout


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
    assert [(side["name"], len(side["seconds"]), side["error"]) for side in comparison["sides"]] == [
        ("openvino", 2, ""),
        ("torch", 2, ""),
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


def test_version(tmp_path: Path) -> None:
    assert bgai_command("--version", cwd=tmp_path).stdout.strip() == f"bgai {bgai.__version__}"


ROOT = Path(__file__).parents[2]
OPTION_FILE = "options/train/BGAI/train_BGAI_x2.yml"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-opt", "no.yml"], "no.yml: cannot be read: No such file"),
        (["-opt", ROOT / OPTION_FILE, "--force_yml", "train:lrr=1"], "unknown key 'lrr'; did you mean 'lr'?"),
        (["-opt", ROOT / OPTION_FILE, "--launcher", "slurm"], "--launcher slurm: expected none or pytorch"),
        (["-opt", ROOT / OPTION_FILE, "scale=3"], "scale=3: expected nothing here"),
        (["-opt", ROOT / OPTION_FILE, "--force_yml", "num_gpu=0"], "datasets/DIV2K/DIV2K_train_HR_sub: no such folder"),
    ],
)
def test_training_refuses_in_one_line(tmp_path: Path, arguments: list[str | Path], message: str) -> None:
    result = bgai_command("train", *arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_original_command_trains_from_the_clone(tmp_path: Path) -> None:
    for name in ("DIV2K/DIV2K_train_HR_sub", "DIV2K/DIV2K_train_LR_bicubic/X2_sub", "Set5/HR_mod2", "Set5/X2"):
        (tmp_path / "datasets" / name).mkdir(parents=True)
        side = 64 if "HR" in name else 32
        picture(tmp_path / "datasets" / name / "0001_s001.png", side, side)
    small = "network_g={channels: 8, broadcast_channels: 4, local_channels: 2, groups: 1}"
    forced = ["num_gpu=0", "train:total_iter=2", "datasets:train:num_worker_per_gpu=0", small]
    sizes = ["datasets:train:batch_size_per_gpu=1", "datasets:train:gt_size=64"]
    result = subprocess.run(
        [
            sys.executable,
            ROOT / "train.py",
            "-opt",
            ROOT / OPTION_FILE,
            "--auto_resume",
            *("--force_yml", *forced, *sizes),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "iteration 2 of 2" in result.stdout
    assert (tmp_path / "experiments/train_BGAI_X2/models/net_g_latest.safetensors").exists()
