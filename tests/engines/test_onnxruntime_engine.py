"""ONNX Runtime on the CPU in the place of DirectML and CoreML: the same code with another provider."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support import save_repeating_graph

import bgai.engines.onnxruntime_engine
import bgai.engines.selection
from bgai.engines.onnxruntime_engine import OnnxRuntimeEngine
from bgai.engines.selection import choose, open_engine
from bgai.errors import EngineError, MissingExtraError, WeightsError
from bgai.types import Precision
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.sources import find_weights

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Repeats pixels, with the names of dimensions and the metadata of an export."""
    save_repeating_graph(tmp_path / "graph.onnx", 0.25)
    model = onnx.load(tmp_path / "graph.onnx")
    for dimension, name in zip(model.graph.input[0].type.tensor_type.shape.dim, ("n", None, "h", "w"), strict=True):
        if name is None:
            dimension.dim_value = 3
        else:
            dimension.dim_param = name
    onnx.helper.set_model_props(model, {"scale": "2", "halo": "24"})
    onnx.save(model, tmp_path / "graph.onnx")
    return tmp_path / "graph.onnx"


def with_device(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """Have the CPU's provider go by the name of a device's."""
    monkeypatch.setattr(bgai.engines.onnxruntime_engine, "accelerators", lambda: [device])
    monkeypatch.setattr(bgai.engines.selection, "accelerators", lambda: [device])
    providers = {**bgai.engines.onnxruntime_engine.PROVIDERS, device: "CPUExecutionProvider"}
    monkeypatch.setattr(bgai.engines.onnxruntime_engine, "PROVIDERS", providers)


@pytest.mark.parametrize("device", ["cpu", "dml"])
def test_tiles_are_enlarged(graph: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_device(monkeypatch, device)
    engine = OnnxRuntimeEngine(graph, device)
    tiles = np.random.default_rng(0).random((2, 3, 5, 7), np.float32)
    np.testing.assert_allclose(engine(tiles), tiles.repeat(2, 2).repeat(2, 3) + 0.25, rtol=0, atol=1e-6)
    assert (engine.name, engine.device, engine.scale) == ("onnxruntime", device, 2)


def test_sessions_are_for_one_size_and_four_are_held(graph: Path) -> None:
    engine = OnnxRuntimeEngine(graph)
    for width in range(8, 14):
        engine.prepare((8, width), 1)
    assert list(engine._sessions) == [(8, width) for width in range(10, 14)]
    assert engine._sessions[8, 13].get_inputs()[0].shape == [1, 3, 8, 13]
    engine.rest()
    assert engine(np.zeros((1, 3, 4, 4), np.float32)).shape == (1, 3, 8, 8)


def test_a_graph_that_the_device_cannot_run_is_noted_once(
    graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_device(monkeypatch, "dml")
    engine = OnnxRuntimeEngine(graph, "dml")
    opened = onnxruntime.InferenceSession

    def without_the_device(*arguments: Any, **options: Any) -> Any:
        session = opened(*arguments, **options)
        session.get_providers = list
        return session

    monkeypatch.setattr(onnxruntime, "InferenceSession", without_the_device)
    with caplog.at_level(logging.WARNING):
        for width in (4, 5):
            engine(np.zeros((1, 3, 4, width), np.float32))
    assert [record.getMessage() for record in caplog.records] == ["dml cannot run this graph, so the CPU does"]


def test_the_device_decides_on_the_engine(graph: Path) -> None:
    assert choose(find_weights("bgai", 2), "auto", "dml")[:2] == ("onnxruntime", "dml")
    assert choose(find_weights(graph), "auto", "coreml")[:2] == ("onnxruntime", "coreml")


def test_an_upscaler_takes_a_graph_and_its_halo(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_device(monkeypatch, "coreml")
    upscaler = Upscaler(weights=graph, device="coreml")
    assert (upscaler.engine.name, upscaler.engine.device, upscaler.halo) == ("onnxruntime", "coreml", 24)
    assert upscaler.upscale(np.zeros((5, 6, 3), np.uint8)).shape == (10, 12, 3)


def test_what_is_not_there_is_explained(graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bgai.engines.onnxruntime_engine, "accelerators", list)
    monkeypatch.setattr(bgai.engines.selection, "accelerators", list)
    with pytest.raises(EngineError, match="device 'coreml': ONNX Runtime has cpu on this machine"):
        open_engine(find_weights(graph), device="coreml")
    with pytest.raises(EngineError, match="no DirectML and no CoreML here; name the device cpu"):
        choose(find_weights(graph), "onnxruntime")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(WeightsError, match="does not say its scale"):
        OnnxRuntimeEngine(tmp_path / "empty.onnx")
    graph.write_bytes(graph.read_bytes().replace(b"DepthToSpace", b"DepthToPlace"))
    with pytest.raises(WeightsError, match="ONNX Runtime cannot load this graph: "):
        OnnxRuntimeEngine(graph)


def test_a_missing_package_names_the_extra(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bgai.engines.onnxruntime_engine, bgai.engines.selection):
        monkeypatch.setattr(module, "has_onnxruntime", lambda: False)
    with pytest.raises(MissingExtraError, match=r"pip install 'bgai\[onnxruntime\]'"):
        OnnxRuntimeEngine(graph)
    with pytest.raises(MissingExtraError, match=r"pip install 'bgai\[onnxruntime\]'"):
        choose(find_weights(graph), "onnxruntime")


def test_weights_are_exported_once(graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported: list[Any] = []

    def export(weights: Any, target: Path, overwrite: bool, precision: str) -> None:
        exported.append(precision)
        target.write_bytes(graph.read_bytes())

    monkeypatch.setenv("BGAI_CACHE", str(tmp_path))
    monkeypatch.setattr("bgai.engines.onnx_export.export_onnx", export)
    precisions: list[Precision] = ["half", "half", "float32"]
    for precision in precisions:
        engine = open_engine(find_weights("bgai", 2), "onnxruntime", "cpu", precision)
        assert engine(np.zeros((1, 3, 4, 4), np.float32)).shape == (1, 3, 8, 8)
    assert exported == ["half", "float32"]
