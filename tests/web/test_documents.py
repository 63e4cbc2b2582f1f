"""The examples of docs/service.md, run as they stand there but for the port."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from web_support import Client, eventually, picture

DOCUMENT = Path(__file__).parents[2] / "docs" / "service.md"


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run(command: list[str], folder: Path) -> str:
    (folder / "photo.jpg").write_bytes(picture(".jpg", quality=60))
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def test_the_example_for_curl(client: Client, tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("no curl on this machine")
    (command,) = examples("sh")
    run(["sh", "-ec", command.replace("http://127.0.0.1:8765", client.url)], tmp_path)
    assert Image.open(tmp_path / "photo_x2.png").size == (24, 20)


@pytest.mark.parametrize(("number", "printed"), [(0, "photo weights: JPEG of quality about 60"), (1, "done 1.0")])
def test_the_examples_for_python(client: Client, tmp_path: Path, number: int, printed: str) -> None:
    code = examples("python")[number].replace("http://127.0.0.1:8765", client.url)
    assert run([sys.executable, "-c", code], tmp_path).strip().endswith(printed)
    assert Image.open(tmp_path / "photo_x2.jpg").size == (24, 20)
    assert eventually(lambda: not client.service.jobs_of("@127.0.0.1"))


def test_every_limit_is_an_option_with_the_default_that_is_told() -> None:
    from typer.testing import CliRunner

    from bgai.cli.app import app

    shown = re.sub(r"\s+", " ", CliRunner(env={"COLUMNS": "300"}).invoke(app, ["serve", "--help"]).output)
    for option, default in re.findall(r"`(--[a-z-]+) (\d+)`", DOCUMENT.read_text(encoding="utf-8")):
        assert re.search(rf"{option} .*?\[default: {default}(\.0)?\]", shown), option
