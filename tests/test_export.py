"""The ONNX export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from test_model import filled_network

import bgai.export
from bgai.checkpoint import save_network
from bgai.engines.openvino_engine import OpenVinoEngine
from bgai.errors import WeightsError
from bgai.weights import find_weights, shipped_scales


@pytest.mark.slow
def test_an_exported_graph_is_the_network(tmp_path: Path) -> None:
    network = filled_network(2)
    save_network(network, tmp_path / "a.safetensors")
    assert bgai.export.export_onnx(tmp_path / "a.safetensors", tmp_path / "a.onnx") <= 1e-4
    image = np.random.default_rng(5).random((1, 3, 29, 70), np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(OpenVinoEngine(tmp_path / "a.onnx")(image), expected, rtol=0, atol=1e-4)


def test_a_graph_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = find_weights(None, shipped_scales()[-1])
    assert weights.onnx is not None
    assert weights.checkpoint is not None
    graph = onnx.load(weights.onnx)
    monkeypatch.setattr(bgai.export, "_trace", lambda network: graph)
    other = filled_network(shipped_scales()[-1])
    save_network(other, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="differs from the network"):
        bgai.export.export_onnx(tmp_path / "other.safetensors", tmp_path / "wrong.onnx")
    assert not (tmp_path / "wrong.onnx").exists()
    assert bgai.export.export_onnx(weights.checkpoint, tmp_path / "right.onnx") <= 1e-4


def test_shipped_graphs_name_nothing_of_the_machine_they_were_made_on() -> None:
    for scale in shipped_scales():
        path = find_weights(None, scale).onnx
        assert path is not None
        content = path.read_bytes()
        assert b"site-packages" not in content
        assert b"/src/" not in content
