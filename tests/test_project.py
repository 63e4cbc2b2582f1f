"""Promises about the package as a whole: what it exports, what it loads, and which way imports point."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bgai

SOURCE = Path(bgai.__file__).parent

# A module may import from its own rank and from those before it.
RANKS = (
    ("errors", "config"),
    ("depthwise", "files", "download", "pth_file", "tiff_exif", "option_file", "provenance", "published", "worker"),
    ("options", "compression"),
    ("bounds", "degradation", "image", "blocks", "resize", "metrics", "tiling", "model", "schedule", "soap"),
    ("fused", "objective"),
    ("complexity",),
    ("tensors", "results"),
    ("checkpoint", "history", "weights", "initial", "lmdb_store"),
    ("engines", "catalogue"),
    ("upscale", "overlap"),
    ("data", "distributed", "journal"),
    ("evaluate", "experiment", "results_page"),
    ("batch", "bench", "prepare", "export", "trainer"),
    ("report", "bench_report"),
    ("train", "testing"),
    ("cli",),
    ("__main__",),
)


def rank(module: str) -> int:
    return next(index for index, names in enumerate(RANKS) if module in names)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names]
        found |= {name.split(".")[1] for name in names if name.startswith("bgai.")}
    return found - {"__version__"}


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_point_one_way(path: Path) -> None:
    name = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if name != "__init__":
        assert all(rank(imported) <= rank(name) for imported in imports(path)), f"{name} imports {imports(path)}"


def test_everything_exported_is_there() -> None:
    assert sorted(bgai.__all__) == bgai.__all__
    for name in bgai.__all__:
        assert getattr(bgai, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bgai.nothing


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = run("import sys, bgai; print(*sys.modules)").split()
    assert not {"torch", "numpy", "openvino", "pyvips", "rich", "typer"} & set(loaded)


def test_the_command_line_does_not_load_torch() -> None:
    loaded = run("import sys, bgai.cli; print(*sys.modules)").split()
    assert not {"torch", "openvino", "onnx", "safetensors", "lmdb"} & set(loaded)


def test_enlarging_needs_no_torch() -> None:
    code = """
import sys
for name in ("torch", "onnx", "PIL"):
    sys.modules[name] = None
import numpy, bgai
print(bgai.Upscaler(engine="openvino").upscale(numpy.zeros((20, 30, 3), "uint8")).shape)
"""
    assert run(code).strip() == "(80, 120, 3)"


def test_a_missing_extra_is_explained() -> None:
    code = """
import sys
sys.modules["torch"] = None
import bgai
try:
    bgai.load_network("x.pth")
except bgai.EngineError as error:
    print(error)
"""
    assert "pip install 'bgai[torch]'" in run(code)
