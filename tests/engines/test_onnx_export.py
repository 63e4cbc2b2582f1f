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
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.checkpoint import save_network
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


def test_a_graph_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_repeating_graph(tmp_path / "graph.onnx", 0)
    graph = onnx.load(tmp_path / "graph.onnx")
    monkeypatch.setattr(bgai.engines.onnx_export, "_trace", lambda network: graph)
    save_network(filled_network(2), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="differs from the network"):
        bgai.engines.onnx_export.export_onnx(find_weights(tmp_path / "other.safetensors"), tmp_path / "wrong.onnx")
    assert not (tmp_path / "wrong.onnx").exists()
