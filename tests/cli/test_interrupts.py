"""Ctrl-C and other signals: nothing half done is left, and no signal is lost."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import picture

import bgai.__main__

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
SIGNALS = [
    signal.SIGINT,
    *(pytest.param(getattr(signal, name, 0), id=name, marks=posix) for name in ("SIGTERM", "SIGHUP")),
]

LOST = """
import os, signal
class Lost:
    def __del__(self):  # what is raised here is printed and dropped, as in callbacks from C
        os.kill(os.getpid(), signal.SIGTERM)
        any(range(0))
"""


@pytest.fixture(autouse=True)
def _signals_reach_children() -> None:
    """A shell that starts the tests in the background has them ignored, and so would the children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def python(code: str, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8", check=False)


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_leaves_no_half_output(number: signal.Signals, tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 600, 600)
    command = [sys.executable, "-m", "bgai", "upscale", "a.png", "--tile", "112"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, encoding="utf-8")
    for _ in range(600):
        if list(tmp_path.glob(".bgai-*.partial")):
            break
        time.sleep(0.1)
    process.send_signal(number)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert messages == "bgai: stopped; what was finished is kept\n"
    assert os.listdir(tmp_path) == ["a.png"]  # noqa: PTH208


@posix
def test_an_interrupt_stops_all_pictures_in_work(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "abc":
        picture(tmp_path / f"in/{name}.png", 400, 400)
    command = [sys.executable, "-m", "bgai", "upscale", "in", "-o", "out", "--tile", "112", "--jobs", "3"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, encoding="utf-8")
    for _ in range(600):
        if len(list(tmp_path.glob("out/.bgai-*.partial"))) > 1:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=300)
    assert process.returncode == 130
    assert messages.endswith("bgai: stopped; what was finished is kept\n")
    assert os.listdir(tmp_path / "out") == []  # noqa: PTH208


@posix
def test_an_interrupt_that_a_library_drops_stops_at_the_next_picture(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / f"{name}.png")
    code = f"""{LOST}
import bgai.upscaling.batch as batch
run_job = batch.run_job
def run_and_interrupt(*arguments):
    done = run_job(*arguments)
    Lost()
    return done
batch.run_job = run_and_interrupt
from bgai.__main__ import main
main()
"""
    result = python(code, tmp_path, "upscale", ".", "-o", "out", "--jobs", "1")
    assert result.returncode == 130
    assert result.stderr.endswith("bgai: stopped; what was finished is kept\n")
    assert os.listdir(tmp_path / "out") == ["a.png"]  # noqa: PTH208


@posix
def test_an_interrupt_that_was_dropped_is_remembered(tmp_path: Path) -> None:
    code = f"""{LOST}
from bgai.cli import interrupts
interrupts.end_at_once()
interrupts.stop_in_order()
Lost()
print("went on")
try:
    interrupts.check()
except KeyboardInterrupt:
    print("stopped")
"""
    assert python(code, tmp_path).stdout == "went on\nstopped\n"


@posix
def test_a_library_that_is_being_loaded_meets_no_interrupt(tmp_path: Path) -> None:
    """One in C++ may end the process when it does."""
    code = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == ("openvino" if "upscale" in sys.argv else "torch"):
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
            print(name, "went on", flush=True)
sys.meta_path.insert(0, Interrupting())
from bgai.__main__ import main
main()
"""
    picture(tmp_path / "a.png")
    result = python(code, tmp_path, "upscale", "a.png", "-o", "b.png", "--engine", "openvino")
    assert (result.returncode, result.stdout) == (130, "openvino went on\n")
    (tmp_path / "options.yml").write_text("name: a")
    result = python(code, tmp_path, "train", "-opt", "options.yml")
    assert (result.returncode, result.stdout) == (130, "torch went on\n")


@posix
def test_an_error_that_a_library_makes_of_an_interrupt_is_none(tmp_path: Path) -> None:
    code = """
import os, signal, sys
import bgai.weights.catalogue as catalogue
def interrupted(*_):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt as error:
        raise ImportError("cannot be loaded") from error
catalogue.catalogue = interrupted
from bgai.__main__ import main
main(["weights"])
"""
    result = python(code, tmp_path)
    assert (result.returncode, result.stderr) == (130, "bgai: stopped; what was finished is kept\n")


@posix
def test_an_interrupt_while_the_command_is_loaded_is_silent(tmp_path: Path) -> None:
    code = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "rich":
            os.kill(os.getpid(), signal.SIGINT)
from bgai.__main__ import main
sys.meta_path.insert(0, Interrupting())
main(["weights"])
"""
    result = python(code, tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGINT, "", "")


@posix
def test_an_interrupt_before_the_command_runs_is_silent(tmp_path: Path) -> None:
    code = """
import os, signal
import typer.main
from bgai.__main__ import main
get_command = typer.main.get_command
def interrupted(app):
    os.kill(os.getpid(), signal.SIGTERM)
    return get_command(app)
typer.main.get_command = interrupted
main(["weights"])
"""
    result = python(code, tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGTERM, "", "")


@posix
def test_a_command_in_another_program_leaves_its_signals_alone(tmp_path: Path) -> None:
    code = """
import signal
before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
from typer.testing import CliRunner
from bgai.cli.app import app
CliRunner().invoke(app, ["weights"])
print((signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before)
"""
    assert python(code, tmp_path).stdout == "True\n"


@posix
def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    code = """
import time
from bgai.cli import interrupts
interrupts.end_at_once()
interrupts.stop_in_order()
with interrupts.deferred():
    print("ready", flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    for pause in (0.2, 0.2, 1.5):  # two signals at once are one request
        process.send_signal(signal.SIGTERM)
        assert process.poll() is None
        time.sleep(pause)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


@posix
def test_signals_that_the_process_was_started_to_ignore_stay_ignored(tmp_path: Path) -> None:
    code = """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
from bgai.cli import interrupts
interrupts.end_at_once()
interrupts.stop_in_order()
os.kill(os.getpid(), signal.SIGHUP)
print("went on")
"""
    assert python(code, tmp_path).stdout == "went on\n"


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("train.py", ["train", "-x"]),
        ("basicsr/test.py", ["test", "-x"]),
        ("extract_subimages.py", ["prepare", "datasets/DIV2K/DIV2K_train_HR", "-x"]),
    ],
)
def test_the_scripts_in_the_root_are_the_same_process(
    script: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(bgai.__main__, "main", given.append)
    monkeypatch.setattr(sys, "argv", [script, "-x"])
    runpy.run_path(str(ROOT / script), run_name="__main__")
    assert given == [arguments]
