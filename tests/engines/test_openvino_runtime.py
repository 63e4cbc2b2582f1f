"""OpenVINO is imported in one place, and reports nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
