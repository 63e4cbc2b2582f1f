"""The ONNX export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from support import filled_network, save_repeating_graph

import bgai.engines.onnx_export
from bgai.engines.onnx_engine import OnnxEngine
from bgai.errors import WeightsError
from bgai.types import Precision
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.checkpoint import load_network, save_network
from bgai.weights.sources import find_weights


@pytest.mark.slow
def test_an_exported_graph_is_the_network(tmp_path: Path) -> None:
    network = filled_network(2)
    save_network(network, tmp_path / "a.safetensors", {"halo": "24"})
    target = tmp_path / "a.onnx"
    assert bgai.engines.onnx_export.export_onnx(find_weights(tmp_path / "a.safetensors"), target) <= 1e-4
    image = np.random.default_rng(5).random((1, 3, 29, 70), np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(OnnxEngine(target)(image), expected, rtol=0, atol=1e-4)
    assert Upscaler(weights=target).scale == 2
    assert Upscaler(weights=target).halo == 24
    for place in (b"site-packages", b"/src/"):  # of the machine that it is made on
        assert place not in target.read_bytes()


SHAPES = [
    *(
        (1, 3, height, width)
        for height, width in ((1, 1), (1, 9), (7, 1), (2, 3), (8, 8), (15, 15), (16, 16), (17, 16))
    ),
    *(
        (1, 3, height, width)
        for height, width in ((16, 31), (33, 48), (47, 49), (64, 64), (65, 20), (5, 100), (96, 80))
    ),
    *(
        (count, 3, height, width)
        for count, height, width in ((2, 16, 16), (2, 13, 30), (3, 1, 1), (4, 8, 24), (5, 17, 9))
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "largest", "mean"), [("float32", 1e-4, 1e-5), ("half", 0.01, 1e-3)])
def test_onnx_runtime_gives_the_same_at_twenty_shapes(
    tmp_path: Path, precision: Precision, largest: float, mean: float
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    weights = find_weights("bgai", 2)
    bgai.engines.onnx_export.export_onnx(weights, tmp_path / "a.onnx", precision=precision)
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    network = load_network(weights.file)
    generator = np.random.default_rng(2)
    assert len(set(SHAPES)) == 20
    for shape in SHAPES:
        image = generator.random(shape, np.float32)
        with torch.inference_mode():
            difference = np.abs(session.run(None, {"lr": image})[0] - network(torch.from_numpy(image)).numpy())
        assert difference.max() < largest, shape
        assert difference.mean() < mean, shape
    if precision == "half":
        assert (tmp_path / "a.onnx").stat().st_size < 1_300_000
        assert Upscaler(weights=tmp_path / "a.onnx").scale == 2


def test_a_graph_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_repeating_graph(tmp_path / "graph.onnx", 0)
    graph = onnx.load(tmp_path / "graph.onnx")
    monkeypatch.setattr(bgai.engines.onnx_export, "_trace", lambda network: graph)
    save_network(filled_network(2), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="differs from the network"):
        bgai.engines.onnx_export.export_onnx(find_weights(tmp_path / "other.safetensors"), tmp_path / "wrong.onnx")
    assert not (tmp_path / "wrong.onnx").exists()
