"""OpenVINO is imported in one place, reports nothing, and is refused where it would hang."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2]


def run(code: str, timeout: float = 120) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=timeout)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_openvino_is_imported_in_one_place() -> None:
    files = [*SOURCES.glob("src/**/*.py"), *SOURCES.glob("benchmarks/*.py")]
    importing = [
        file.name
        for file in files
        if any(line.strip().startswith(("import openvino", "from openvino")) for line in file.read_text().splitlines())
    ]
    assert importing == ["openvino_runtime.py"]


def test_nothing_is_reported_over_the_network() -> None:
    code = "import sys, bgai.engines.openvino_runtime; print(sum('telemetry.backend' in name for name in sys.modules))"
    assert run(code) == "0\n"


def test_what_reports_is_hidden_during_the_import_alone() -> None:
    code = """
import sys, types
{before}
import bgai.engines
print("openvino_telemetry" in sys.modules)
import bgai.engines.openvino_runtime
print(sys.modules.get("openvino_telemetry"))
"""
    assert run(code.format(before="")) == "False\nNone\n"
    own = 'sys.modules["openvino_telemetry"] = types.ModuleType("mine")'
    assert run(code.format(before=own)) == "True\n<module 'mine'>\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("same", [True, False], ids=["the parent's", "one of its own"])
def test_a_forked_process_is_told_what_to_do(same: bool) -> None:
    code = f"""
import os, sys, numpy, bgai
upscaler = bgai.Upscaler(scale=4, engine="openvino")
image = numpy.zeros((20, 20, 3), "uint8")
upscaler.upscale(image)
if os.fork() == 0:
    try:
        (upscaler if {same} else bgai.Upscaler(scale=2, engine="openvino")).upscale(image)
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
def test_a_process_forked_before_the_first_enlargement_works() -> None:
    code = """
import os, numpy, bgai
upscaler = bgai.Upscaler(scale=4, engine="openvino")
image = numpy.random.default_rng(0).integers(0, 255, (20, 20, 3)).astype("uint8")
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
