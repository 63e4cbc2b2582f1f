"""Enlarging files and folders, by the command."""

from __future__ import annotations

import inspect
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from support import bgai_command, picture, save_repeating_graph, texture

from bgai.atomic_files import claimed
from bgai.cli import console, upscale
from bgai.upscaling.batch import OutputSettings


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
    out = Console(file=shown, force_terminal=True, width=20, markup=False, emoji=False, highlight=False)
    monkeypatch.setattr(console, "out", out)
    monkeypatch.setattr(upscale, "out", out)
    monkeypatch.setattr(console, "err", Console(file=messages))
    upscale.name_output(Path("a [1] :cat:.png"), "bgai weights: lossless PNG")
    assert shown.getvalue() == "a [1] :cat:.png  (bgai weights: lossless PNG)\n"
    assert messages.getvalue() == ""


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


def test_one_json_object_for_each_picture(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "é.png")
    (tmp_path / "b.png").write_text("no picture", encoding="utf-8")
    result = bgai_command("upscale", "a.png", "é.png", "b.png", "--json", "--format", "TIFF", cwd=tmp_path)
    assert result.returncode == 1
    failed, *done = [json.loads(line) for line in result.stdout.splitlines()]
    assert "b.png: not a picture" in failed["error"]
    assert [each["source"] for each in done] == ["a.png", "é.png"]
    assert done[0].pop("seconds") > 0
    assert done[0] == {
        "source": "a.png",
        "target": "a_x4.tif",
        "source_size": [18, 12],
        "target_size": [72, 48],
        "weights": "bgai weights: lossless PNG",
        "notes": [],
    }
    named = bgai_command("upscale", "a.png", "--json", "--quiet", "--weights", "bgai", "--scale", "2", cwd=tmp_path)
    assert json.loads(named.stdout)["weights"] == "bgai ×2"
    sized = bgai_command("upscale", "a.png", "--json", "--weights", "photo", "--factor", "1.5", cwd=tmp_path)
    assert json.loads(sized.stdout)["weights"] == "photo ×2"
    assert json.loads(sized.stdout)["target_size"] == [27, 18]
    assert named.stderr == ""


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    result = bgai_command("upscale", "a.png", "no.png", "--dry-run", cwd=tmp_path)
    assert result.stdout == "a.png: a_x4.png, 18 x 12 to 72 x 48\n"
    assert "no.png: cannot be read" in result.stderr
    assert "1 to be enlarged, 1 failed" in result.stderr
    assert result.returncode == 1
    for_programs = bgai_command("upscale", "a.png", "--dry-run", "--json", cwd=tmp_path)
    assert json.loads(for_programs.stdout)["target_size"] == [72, 48]
    assert os.listdir(tmp_path) == ["a.png"]  # noqa: PTH208


def test_quiet_leaves_errors_alone(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    done = bgai_command("upscale", "a.png", "-q", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    picture(tmp_path / "a_x4.png")  # which bgai did not make
    failed = bgai_command("upscale", "a.png", "--quiet", cwd=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.startswith("bgai: a_x4.png: exists already")
    assert failed.stderr.count("\n") == 1


def test_what_is_left_out_of_a_folder_is_counted(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name in ("sub", "out", ".hidden"):
        (photos / name).mkdir(parents=True)
    picture(photos / "a.png")
    picture(photos / "sub/b.png")
    for name in ("c.ppm", "d.txt", ".e"):
        (photos / name).touch()
    flat = bgai_command("upscale", "photos", "-o", "photos/out", cwd=tmp_path)
    assert flat.stderr.endswith("1 enlarged; left out: 2 of other kinds, 1 folder without -r\n")
    deep = bgai_command("upscale", "photos", "-o", "photos/out", "-r", cwd=tmp_path)
    assert deep.stderr.endswith("1 enlarged, 1 finished before; left out: 2 of other kinds\n")


def test_defaults_are_those_of_the_library() -> None:
    parameters = inspect.signature(upscale.upscale).parameters
    settings = OutputSettings()
    for name in ("quality", "max_megapixels", "overwrite"):
        assert parameters[name].default == getattr(settings, name)


@pytest.mark.parametrize(
    ("options", "name", "size"),
    [
        (("--factor", "1.5"), "a_x1.5.png", (27, 18)),
        (("--width", "40"), "a_w40.png", (40, 27)),
        (("--fit", "100x30"), "a_100x30.png", (45, 30)),
        (("--long-edge", "60"), "a_edge60.png", (60, 40)),
        (("--megapixels", "0.001"), "a_0.001mp.png", (38, 25)),
    ],
)
def test_sizes(options: tuple[str, str], name: str, size: tuple[int, int], tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    result = bgai_command("upscale", "a.png", *options, cwd=tmp_path)
    assert result.stdout.strip() == name, result.stderr
    assert Image.open(tmp_path / name).size == size
    again = bgai_command("upscale", "a.png", *options, cwd=tmp_path)
    assert "0 enlarged, 1 finished before" in again.stderr


def test_sizes_that_cannot_be(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for options, message in (
        (("--factor", "1.5", "--width", "30"), "a size is one of"),
        (("--factor", "1.5", "--scale", "2"), "leave one of them out (--scale)"),
        (("--fit", "100"), "expected a width and a height, such as 1920x1080 (--fit)"),
        (("--width", "10"), "a.png: 18 x 12 is more than the size asked for, w10"),
    ):
        result = bgai_command("upscale", "a.png", *options, cwd=tmp_path)
        assert result.returncode == 1
        assert message in result.stderr


def test_names_and_dates(tmp_path: Path) -> None:
    os.utime(picture(tmp_path / "a.png"), (10**9, 10**9))
    result = bgai_command("upscale", "a.png", "--name", "{stem}@{scale}x", "--keep-dates", cwd=tmp_path)
    assert result.stdout.strip() == "a@4x.png", result.stderr
    assert (tmp_path / "a@4x.png").stat().st_mtime == 10**9
    wrong = bgai_command("upscale", "a.png", "--name", "{size}", cwd=tmp_path)
    assert "{size} is not known; expected {stem}, {scale}, {width}, {height} (--name)" in wrong.stderr


@pytest.mark.skipif(os.name == "nt", reason="no claims there")
def test_what_another_command_is_at_is_left_to_it(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    with claimed(tmp_path / "a_x4.png"):
        result = bgai_command("upscale", "a.png", "b.png", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.split() == ["b_x4.png"]
    assert "a.png: in work elsewhere\n" in result.stderr
    assert result.stderr.endswith("1 enlarged, 1 in work elsewhere\n")


def test_options_of_the_output(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (18, 12), (200, 40, 60, 0))
    clear.save(tmp_path / "a.png")
    refused = bgai_command("upscale", "a.png", "--format", "jpeg", cwd=tmp_path)
    assert refused.returncode == 1
    assert "JPEG cannot hold transparency" in refused.stderr
    assert "(--background)" in refused.stderr
    done = bgai_command(
        "upscale", "a.png", "--format", "jpeg", "--background", "white", "--no-metadata", "--lenient", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "a_x4.jpg") as image:
        assert image.getpixel((30, 20)) == (255, 255, 255)
        assert b'bgai:quality="95 on #ffffff without metadata"' in image.info["xmp"]
    done = bgai_command("upscale", "a.png", "--format", "avif", "--lossless", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "a_x4.avif") as image:
        assert image.size == (72, 48)


def test_after_many_pictures_the_summary_says_again_what_failed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(25):
        picture(tmp_path / f"in/{number:02}.png", 8, 8)
    for number in range(14):
        (tmp_path / f"in/broken{number:02}.png").write_bytes(b"no picture")
    save_repeating_graph(tmp_path / "repeat.onnx", 0.0)
    arguments = ("upscale", "in", "-o", "out", "--scale", "2", "--weights", "repeat.onnx")
    lines = bgai_command(*arguments, cwd=tmp_path).stderr.splitlines()
    assert [line.partition(": not")[0] for line in lines[-14:-2]] == [
        f"failed: in/broken{number:02}.png" for number in range(12)
    ]
    assert lines[-2:] == ["and 2 more failed, as said above", "25 enlarged, 14 failed"]
    again = bgai_command(*arguments, cwd=tmp_path).stderr.splitlines()
    assert again[-1] == "0 enlarged, 25 finished before, 14 failed"
    assert not any(line.startswith("failed") for line in again)


def test_two_commands_count_each_picture_once(tmp_path: Path) -> None:
    """The output appears between the first one's plan and its work."""
    for name in "abc":
        picture(tmp_path / f"{name}.png", 8, 8)
    save_repeating_graph(tmp_path / "repeat.onnx", 0.0)
    code = """
import bgai.upscaling.batch as batch
run_job = batch.run_job
def run_after_another(job, *arguments):
    if job.source.name == "b.png":
        run_job(job, *arguments)
    return run_job(job, *arguments)
batch.run_job = run_after_another
from bgai.__main__ import main
main()
"""
    command = [sys.executable, "-c", code, "upscale", ".", "-o", "out", "--scale", "2", "--weights", "repeat.onnx"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert result.stderr.splitlines()[-1] == "2 enlarged, 1 finished elsewhere; left out: 1 of other kinds"
