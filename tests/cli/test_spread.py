from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from storage_support import BUCKET, keys, s3_server
from support import bgai_command, served_folder, texture


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[Any, dict[str, str]]]:
    with s3_server() as server:
        yield server


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with two pictures, one of them in a folder, and a file that is none."""
    for number, name in enumerate(("a.png", "inner/b.png")):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(texture(20, 24, seed=number)).save(tmp_path / "in" / name)
    (tmp_path / "in/broken.png").write_text("no picture")
    return tmp_path / "in"


def test_folder_in_s3(s3: tuple[Any, dict[str, str]], pictures: Path, tmp_path: Path) -> None:
    client, environment = s3
    for file in pictures.rglob("*.png"):
        client.upload_file(str(file), BUCKET, f"in/{file.relative_to(pictures)}")
    command = ("upscale", "--scale", "2", "-r", f"s3://{BUCKET}/in", "-o", f"s3://{BUCKET}/out")
    first = bgai_command(*command, cwd=tmp_path, **environment)
    assert first.returncode == 1
    assert first.stdout.splitlines() == [f"s3://{BUCKET}/out/a.png", f"s3://{BUCKET}/out/inner/b.png"]
    (complaint,) = [line for line in first.stderr.splitlines() if line.startswith("bgai: ")]
    assert complaint.startswith(f"bgai: s3://{BUCKET}/in/broken.png: not a picture")
    assert first.stderr.splitlines()[-1] == "2 enlarged, 1 failed"
    assert keys(client) == ["in/a.png", "in/broken.png", "in/inner/b.png", "out/a.png", "out/inner/b.png"]

    again = bgai_command(*command, cwd=tmp_path, **environment)
    assert again.stderr.splitlines()[-1] == "0 enlarged, 2 finished before, 1 failed"

    local = bgai_command("upscale", "--scale", "2", "-r", pictures, "-o", tmp_path / "out", cwd=tmp_path)
    assert local.stderr.splitlines()[-1] == "2 enlarged, 1 failed"
    client.download_file(BUCKET, "out/inner/b.png", str(tmp_path / "b.png"))
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "out/inner/b.png").read_bytes()


def test_one_line_without_credentials(s3: tuple[Any, dict[str, str]], tmp_path: Path) -> None:
    environment = s3[1] | {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SHARED_CREDENTIALS_FILE": "none"}
    result = bgai_command("upscale", f"s3://{BUCKET}/a.png", "-o", ".", cwd=tmp_path, **environment)
    assert result.returncode == 1
    assert result.stderr.splitlines()[0].startswith(f"bgai: s3://{BUCKET}/a.png: no credentials for s3://")


def test_list_of_a_web_server(pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    with served_folder(pictures) as address:
        (tmp_path / "names.txt").write_text(f"{address}/a.png?key=very-secret\n{address}/none.png\n")
        command = ("upscale", "--scale", "2", "--json", "names.txt", "-o", "out")
        result = bgai_command(*command, cwd=tmp_path)
    done, failed = map(json.loads, result.stdout.splitlines())
    assert (done["source"], done["target"]) == (f"{address}/a.png", str(Path("out/a_x2.png")))
    assert (done["source_size"], done["target_size"]) == ([24, 20], [48, 40])
    assert failed["error"] == f"{address}/none.png: not found"
    assert "very-secret" not in result.stdout + result.stderr
    assert Image.open(tmp_path / "out/a_x2.png").size == (48, 40)


def test_dry_run_names_outputs(pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    result = bgai_command("upscale", pictures, "-o", "memory://out", "--dry-run", "--scale", "2", cwd=tmp_path)
    assert result.stdout.splitlines() == [
        f"{pictures / 'a.png'}: memory://out/a.png",
        f"{pictures / 'broken.png'}: memory://out/broken.png",
    ]
    assert result.stderr == "2 to be enlarged\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["https://host/a.png"], "a web server takes no outputs: name a folder for them (--output)"),
        (["a.png", "-o", "https://host/out"], "https://host/out: a web server takes no outputs"),
        (["a.png", "-o", "memory://out", "--keep-dates"], "dates are kept for files on this machine alone"),
        (["-", "-o", "memory://out/a.png"], "standard input and output are for one picture on this machine alone"),
        (["a.png", "--cluster", "auto", "--worker-cpus", "0"], "0 CPU cores a worker: expected 1 or more"),
        (["ftp://host/a.png"], "ftp://: expected one of s3://"),
    ],
)
def test_what_is_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = bgai_command("upscale", *arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_interrupt_stops_in_the_middle_of_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    Image.fromarray(texture(1500, 2000)).save(tmp_path / "large.png")  # minutes of work
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "-m", "bgai", "upscale", "large.png", "-o", "memory://out", "--tile", "128"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob("scratch/bgai-*/target")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, messages = process.communicate()
    assert (process.returncode, messages) == (130, "bgai: stopped; what was finished is kept\n")
    assert list(tmp_path.glob("scratch/*")) == []
