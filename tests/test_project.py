"""Promises about the package as a whole: what it exports, what it loads, and which way imports point."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import bgai


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_everything_exported_is_there() -> None:
    assert sorted(bgai.__all__) == bgai.__all__
    for name in bgai.__all__:
        assert getattr(bgai, name) is not None
        assert name == "__version__" or getattr(bgai, name).__doc__
    assert set(bgai.__all__) == {*bgai._HOMES, "__version__"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bgai.nothing


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = run("import sys, bgai; print(*sys.modules)").split()
    assert not {"torch", "numpy", "openvino", "pyvips", "rich", "typer"} & set(loaded)


def test_the_command_line_loads_nothing_heavy() -> None:
    loaded = run("import sys, bgai.cli.app; print(*sys.modules)").split()
    assert not {"torch", "openvino", "numpy", "pyvips", "onnx", "safetensors", "lmdb"} & set(loaded)


def test_enlarging_needs_no_torch() -> None:
    code = """
import sys
from pathlib import Path
for name in ("torch", "onnx", "PIL"):
    sys.modules[name] = None
import numpy, bgai
print(bgai.Upscaler(engine="openvino").upscale(numpy.zeros((20, 30, 3), "uint8")).shape)
"""
    assert run(code).strip() == "(80, 120, 3)"


def test_a_missing_extra_is_explained() -> None:
    code = """
import sys
from pathlib import Path
sys.modules["torch"] = None
import bgai
try:
    bgai.load_network("x.pth")
except bgai.EngineError as error:
    print(error)
"""
    assert "pip install 'bgai[torch]'" in run(code)


TESTS = Path(__file__).parent


def test_every_room_has_its_tests() -> None:
    rooms = {file.parent.name for file in Path(bgai.__file__).parent.glob("*/__init__.py")}
    assert len(rooms) > 9
    assert rooms <= {file.parent.name for file in TESTS.glob("*/test_*.py")}


def test_tests_do_not_import_tests() -> None:
    """What several tests need lies in `conftest.py` and the modules named `support`."""
    importing = re.compile(r"^\s*(from|import)\s+(tests\b|[\w.]*\btest_)", re.MULTILINE)
    files = list(TESTS.rglob("*.py"))
    assert len(files) > 50
    assert [str(file) for file in files if importing.search(file.read_text(encoding="utf-8"))] == []
