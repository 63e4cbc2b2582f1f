"""The engines agree with the network and with each other, and the choice between them is explained."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import bgai.engines
from bgai.checkpoint import load_network
from bgai.engines import choose, open_engine
from bgai.errors import EngineError, UsageError, WeightsError
from bgai.weights import Weights, find_weights, shipped_scales

BOTH = Weights("both", Path("a.onnx"), Path("a.safetensors"))
GRAPH = Weights("graph", onnx=Path("a.onnx"))
CHECKPOINT = Weights("checkpoint", checkpoint=Path("a.pth"))


@pytest.mark.parametrize("scale", shipped_scales())
@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize("shape", [(1, 3, 32, 48), (2, 3, 21, 37), (1, 3, 1, 1), (1, 3, 5, 100)])
def test_shipped_weights_run_as_the_network_does(scale: int, engine: str, shape: tuple[int, ...]) -> None:
    weights = find_weights(None, scale)
    assert weights.checkpoint is not None
    tiles = np.random.default_rng(0).random(shape, np.float32)
    with torch.inference_mode():
        expected = load_network(weights.checkpoint)(torch.from_numpy(tiles)).numpy()
    running = open_engine(weights, engine, "cpu")
    assert (running.name, running.device, running.scale) == (engine, "cpu", scale)
    result = running(tiles)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4)


def test_results_outlive_the_next_call() -> None:
    running = open_engine(find_weights(None, 4), "openvino")
    first = running(np.zeros((1, 3, 8, 8), np.float32))
    kept = first.copy()
    running(np.ones((1, 3, 8, 8), np.float32))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("weights", "device", "gpu", "expected"),
    [
        (BOTH, "auto", None, ("openvino", "cpu")),
        (BOTH, "auto", "cuda", ("torch", "cuda")),
        (BOTH, "cpu", "cuda", ("openvino", "cpu")),
        (BOTH, "cuda:1", None, ("torch", "cuda:1")),
        (GRAPH, "auto", "cuda", ("openvino", "cpu")),
        (CHECKPOINT, "auto", None, ("torch", "cpu")),
        (CHECKPOINT, "auto", "mps", ("torch", "mps")),
        (CHECKPOINT, "cpu", "cuda", ("torch", "cpu")),
    ],
)
def test_auto_picks(
    weights: Weights, device: str, gpu: str | None, expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bgai.engines, "torch_accelerator", lambda: gpu)
    *picked, reason = choose(weights, "auto", device)
    assert tuple(picked) == expected
    assert reason


@pytest.mark.parametrize(
    ("weights", "engine", "device", "message"),
    [
        (CHECKPOINT, "openvino", "auto", "bgai export"),
        (GRAPH, "torch", "auto", "use --engine openvino"),
        (BOTH, "openvino", "cuda", "use --engine torch"),
        (GRAPH, "auto", "cuda", "use --engine openvino"),
    ],
)
def test_impossible_wishes_are_explained(weights: Weights, engine: str, device: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        choose(weights, engine, device)


def test_unknown_engines_are_refused() -> None:
    with pytest.raises(UsageError, match="expected one of auto, openvino, torch"):
        choose(BOTH, "tensorrt")


def test_a_missing_torch_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bgai.engines, "has_torch", lambda: False)
    with pytest.raises(EngineError, match=r"pip install 'bgai\[torch\]'"):
        choose(CHECKPOINT)


@pytest.mark.parametrize("content", [b"", b"not a graph at all"])
def test_a_broken_graph_is_one_clear_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match="damaged, or not an ONNX graph") as error:
        open_engine(find_weights(tmp_path / "a.onnx"))
    assert "\n" not in str(error.value)


def test_a_graph_of_something_else_is_refused(tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    vector = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "abs", vector[:1], vector[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "abs.onnx")
    with pytest.raises(WeightsError, match="bgai export"):
        open_engine(find_weights(tmp_path / "abs.onnx"))


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(EngineError, match="cannot be used"):
        open_engine(find_weights(None, 4), "torch", "nonsense")


def test_graphs_of_the_same_name_size_and_time_are_told_apart(tmp_path: Path) -> None:
    import onnx

    from bgai.engines.openvino_engine import OpenVinoEngine

    source = find_weights(None, 4).onnx
    assert source is not None
    target, image = tmp_path / "a.onnx", np.zeros((1, 3, 4, 4), np.float32)
    model = onnx.load(source)
    (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == "head.bias")
    means = []
    for shift in (0.0, 0.25):
        values = onnx.numpy_helper.to_array(bias) + np.float32(shift)
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        onnx.save(model, target)
        os.utime(target, (1e9, 1e9))
        means.append(OpenVinoEngine(target, tmp_path / "cache")(image).mean())
    assert means[1] - means[0] == pytest.approx(0.25, abs=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu() -> None:
    tiles = np.random.default_rng(0).random((1, 3, 64, 80), np.float32)
    results = [open_engine(find_weights(None, 4), "torch", device)(tiles) for device in ("cpu", "cuda")]
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=1e-4)
