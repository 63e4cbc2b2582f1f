"""Engines in processes that were forked or started anew: they work, or say what to do; none waits for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import NEEDS_COMPILER

from bgai.types import EngineName


def run(code: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize(("engine", "same"), [("openvino", True), ("openvino", False), ("torch", True)])
def test_a_forked_process_is_told_what_to_do(engine: EngineName, same: bool) -> None:
    code = f"""
import os, sys, numpy, bgai
upscaler = bgai.Upscaler(scale=4, engine="{engine}", device="cpu")
image = numpy.zeros((20, 20, 3), "uint8")
upscaler.upscale(image)
if os.fork() == 0:
    try:
        (upscaler if {same} else bgai.Upscaler(scale=2, engine="{engine}")).upscale(image)
    except bgai.EngineError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
print(upscaler.upscale(image).shape)
"""
    lines = run(code).splitlines()
    assert "before this process was forked" in lines[0]
    assert "'spawn'" in lines[0]
    assert lines[1:] == ["(80, 80, 3)"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize(("engine", "before"), [("openvino", 0), pytest.param("native", 1, marks=NEEDS_COMPILER)])
def test_a_forked_process_works(engine: EngineName, before: int) -> None:
    """With OpenVINO, if the process was forked before the first enlargement."""
    code = f"""
import os, numpy, bgai
upscaler = bgai.Upscaler(scale=4, engine="{engine}")
image = numpy.random.default_rng(0).integers(0, 255, (20, 20, 3)).astype("uint8")
if {before}:
    upscaler.upscale(image)
if os.fork() == 0:
    print(upscaler.upscale(image).sum(), flush=True)
    os._exit(0)
os.wait()
print(upscaler.upscale(image).sum())
"""
    first, second = run(code).splitlines()
    assert first == second


def test_processes_that_are_started_anew_work(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("""
import multiprocessing, numpy, bgai

IMAGE = numpy.random.default_rng(0).integers(0, 255, (20, 20, 3)).astype("uint8")


def enlarge(_):
    return int(bgai.Upscaler(scale=4, engine="openvino").upscale(IMAGE).sum())


if __name__ == "__main__":
    here = enlarge(0)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(set(pool.map(enlarge, range(2))) == {here})
""")
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, result.stdout) == (0, "True\n"), result.stderr
