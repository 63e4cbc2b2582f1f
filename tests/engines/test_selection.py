"""The engines agree with the network and with each other, and the choice between them is explained."""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper
from support import NATIVE, NEEDS_COMPILER, save_graph, save_repeating_graph, texture

import bgai.engines.selection
from bgai.engines import cuda_network, openvino_engine
from bgai.engines import openvino_graph as graph
from bgai.engines.cuda_network import CudaNetwork
from bgai.engines.onnx_engine import OnnxEngine
from bgai.engines.openvino_runtime import core
from bgai.engines.selection import (
    PRECISIONS,
    choose,
    open_engine,
)
from bgai.errors import EngineError, UsageError, WeightsError
from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI
from bgai.types import EngineName, Precision
from bgai.weights.checkpoint import load_network, save_network
from bgai.weights.reading import blended_weights, read_weights
from bgai.weights.sources import SHIPPED, Weights, find_weights, shipped_scales

OURS = Weights("ours", SHIPPED / "bgai_x4.safetensors")
GRAPH = Weights("graph", Path("a.onnx"))
NOWHERE = Weights("nowhere", Path("a.pth"))


@pytest.mark.parametrize("scale", shipped_scales())
@pytest.mark.parametrize("engine", ["openvino", "torch", NATIVE])
@pytest.mark.parametrize("shape", [(1, 3, 32, 48), (2, 3, 21, 37), (1, 3, 1, 1), (1, 3, 5, 100)])
def test_shipped_weights_run_as_the_network_does(scale: int, engine: EngineName, shape: tuple[int, ...]) -> None:
    weights = find_weights(None, scale)
    tiles = np.random.default_rng(0).random(shape, np.float32)
    with torch.inference_mode():
        expected = load_network(weights.file)(torch.from_numpy(tiles)).numpy()
    running = open_engine(weights, engine, "cpu")
    assert (running.name, running.device, running.scale) == (engine, "cpu", scale)
    result = running(tiles)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("engine", ["openvino", NATIVE])
def test_results_outlive_the_next_call(engine: EngineName) -> None:
    running = open_engine(find_weights(None, 4), engine)
    first = running(np.zeros((1, 3, 8, 8), np.float32))
    kept = first.copy()
    running(np.ones((1, 3, 8, 8), np.float32))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("weights", "device", "gpu", "expected"),
    [
        (OURS, "auto", None, ("native", "cpu")),
        (OURS, "auto", "cuda", ("torch", "cuda")),
        (OURS, "cpu", "cuda", ("native", "cpu")),
        (OURS, "cuda:1", None, ("torch", "cuda:1")),
        (GRAPH, "auto", "cuda", ("openvino", "cpu")),
        (NOWHERE, "auto", "mps", ("torch", "mps")),
    ],
)
def test_auto_picks(
    weights: Weights, device: str, gpu: str | None, expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bgai.engines.selection, "torch_accelerator", lambda: gpu)
    monkeypatch.setattr(bgai.engines.selection, "reason_against", lambda _: None)
    *picked, reason = choose(weights, "auto", device)
    assert tuple(picked) == expected
    assert reason


def test_auto_picks_openvino_where_native_does_not_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a word: what nobody asked for is no reason to warn."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(bgai.engines.selection, "reason_against", lambda _: "g++ was not found")
    assert choose(OURS, device="cpu") == ("openvino", "cpu", "g++ was not found")
    assert open_engine(OURS, device="cpu").name == "openvino"
    assert {record.levelno for record in caplog.records} == {logging.INFO}
    assert "openvino on cpu: g++ was not found" in caplog.text


def other_network(path: Path) -> Path:
    """Weights of a network that is not the paper's."""
    torch.manual_seed(0)
    save_network(BGAI(NetworkConfig(2, groups=2)), path)
    return path


@NEEDS_COMPILER
def test_other_settings_are_for_openvino(tmp_path: Path) -> None:
    weights = find_weights(other_network(tmp_path / "a.safetensors"))
    reason = "the engine native runs networks with the paper's settings alone, and a.safetensors has others"
    assert choose(weights, device="cpu") == ("openvino", "cpu", reason)
    assert open_engine(weights, device="cpu").name == "openvino"
    with pytest.raises(EngineError, match=f"{reason}; choose the engine openvino"):
        choose(weights, "native")


def test_half_precision_runs_where_float32_does() -> None:
    assert choose(OURS, "auto", "cpu", "half") == choose(OURS, "auto", "cpu")


@NEEDS_COMPILER
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_what_is_chosen_runs(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bgai.engines.selection, "torch_accelerator", lambda: None)
    assert choose(OURS, device=device)[:2] == ("native", "cpu")
    assert open_engine(OURS, device=device).name == "native"


@pytest.mark.parametrize(
    ("weights", "engine", "device", "message"),
    [
        (GRAPH, "torch", "auto", "choose the engine openvino"),
        (GRAPH, "native", "auto", "choose the engine openvino"),
        (OURS, "native", "cuda", "device 'cuda': the engine native runs on the CPU alone"),
        (OURS, "openvino", "cuda", "choose the engine torch"),
        (GRAPH, "auto", "cuda", "choose the engine openvino"),
    ],
)
def test_impossible_wishes_are_explained(weights: Weights, engine: EngineName, device: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        choose(weights, engine, device)


@pytest.mark.parametrize("engine", ["openvino", "torch", NATIVE])
def test_compilation_is_refused_but_on_cuda(engine: EngineName) -> None:
    with pytest.raises(EngineError, match=f"compilation is for the device cuda alone; {engine} on cpu"):
        open_engine(find_weights(None, 4), engine, "cpu", compile=True)


def test_precisions_that_cannot_be_had_are_refused() -> None:
    with pytest.raises(UsageError, match="precision 'float16': expected one of float32, half"):
        open_engine(OURS, precision="float16")  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="torch on cpu computes in float32 alone"):
        open_engine(OURS, "torch", "cpu", precision="half")
    with pytest.raises(EngineError, match="an ONNX graph computes in float32 alone"):
        open_engine(GRAPH, precision="half")


@pytest.mark.parametrize("size", [(37, 50), (240, 208)], ids=["any-size", "one-size"])
def test_half_precision_is_close(size: tuple[int, int]) -> None:
    if "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(EngineError, match="no bfloat16 arithmetic"):
            open_engine(find_weights(None, 4), "openvino", precision="half")
        return
    tile = texture(*size).transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    exact, half = (open_engine(find_weights(None, 4), "openvino", precision=name)(tile) for name in PRECISIONS)
    difference = np.abs(exact - half)
    assert 1e-4 < difference.max() < 0.05
    assert difference.mean() < 2e-3


def test_unknown_engines_are_refused() -> None:
    with pytest.raises(UsageError, match="expected one of auto, openvino, native, torch"):
        choose(OURS, "tensorrt")  # type: ignore[arg-type]


def test_a_missing_torch_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bgai.engines.selection, "has_torch", lambda: False)
    with pytest.raises(EngineError, match=r"pip install 'bgai\[torch\]'"):
        choose(NOWHERE, "torch")
    assert choose(OURS)[0] in ("native", "openvino")


@NEEDS_COMPILER
def test_without_a_compiler(tmp_path: Path) -> None:
    code = """
import os, bgai
from bgai.engines.selection import choose
os.environ["PATH"] = ""
weights = bgai.find_weights(None, 4)
print(*choose(weights, device="cpu"))
choose(weights, "native")
"""
    environment = {**os.environ, "BGAI_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    reason = "the engine native has to be compiled, and g++ was not found: install the package g++ or gcc-c++"
    assert result.stdout == f"openvino cpu {reason}\n"
    error = result.stderr.splitlines()[-1]
    assert error == f"bgai.errors.EngineError: {reason}; or choose the engine openvino, which needs no compiler"


def test_a_folder_named_torch_is_not_pytorch(tmp_path: Path) -> None:
    for name in ("torch", "openvino"):
        (tmp_path / name).mkdir()
    code = """
import importlib.machinery, sys, numpy
class NoTorch(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        paths = [place for place in sys.path if "site-packages" not in place] if name == "torch" else path
        return super().find_spec(name, paths, target)
sys.meta_path[:] = [NoTorch if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
import bgai
from bgai.engines.selection import has_torch, torch_accelerator
print(has_torch(), torch_accelerator())
print(bgai.Upscaler().upscale(numpy.zeros((20, 20), "uint8")).shape)
for call in (lambda: bgai.load_network("a.pth"), lambda: bgai.Upscaler(engine="torch")):
    try:
        call()
    except bgai.BgaiError as error:
        print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[:2] == ["False None", "(80, 80)"]
    assert len(lines) == 4
    assert all("pip install 'bgai[torch]'" in line for line in lines[2:])


@pytest.mark.parametrize("content", [b"", b"not a graph at all"])
def test_a_broken_graph_is_one_clear_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match="damaged, or not an ONNX graph") as error:
        open_engine(find_weights(tmp_path / "a.onnx"))
    assert "\n" not in str(error.value)


def test_a_graph_of_something_else_is_refused(tmp_path: Path) -> None:
    save_graph(tmp_path / "abs.onnx", [helper.make_node("Abs", ["lr"], ["sr"])])
    with pytest.raises(WeightsError, match="bgai export"):
        open_engine(find_weights(tmp_path / "abs.onnx"))


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(EngineError, match="cannot be used"):
        open_engine(find_weights(None, 4), "torch", "nonsense")


def test_graphs_of_the_same_name_size_and_time_are_told_apart(tmp_path: Path) -> None:
    target, image = tmp_path / "a.onnx", np.zeros((1, 3, 4, 4), np.float32)
    for shift in (0.0, 0.25):
        save_repeating_graph(target, shift)
        os.utime(target, (1e9, 1e9))
        engine = OnnxEngine(target, tmp_path / "cache")
        assert engine.scale == 2
        np.testing.assert_array_equal(engine(image), np.full((1, 3, 8, 8), shift))


def test_the_graph_depends_on_the_image_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "_WORTH_COMPILING_PIXELS", 2 * 20 * 30)
    engine = openvino_engine.OpenVinoEngine(*read_weights(find_weights(None, 4).file), None)
    tiles = np.random.default_rng(0).random((1, 3, 20, 30), np.float32)
    first = engine(tiles)
    in_many = engine(tiles, 3)
    assert list(engine._requests) == [None, (20, 30)]
    np.testing.assert_allclose(in_many, first, rtol=0, atol=5e-5)
    for _ in range(4):
        np.testing.assert_array_equal(engine(tiles), first)
        np.testing.assert_array_equal(engine(tiles, 3), in_many)


def test_few_graphs_are_held() -> None:
    engine = openvino_engine.OpenVinoEngine(*read_weights(find_weights(None, 4).file), None)
    for side in range(1, 7):
        engine._request((side, 8))
    assert len(engine._requests) == 4


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_signals_are_handled_after_an_engine_is_gone() -> None:
    code = """
import os, signal, numpy, bgai
signal.signal(signal.SIGINT, lambda *_: print("handled", flush=True))
upscaler = bgai.Upscaler(engine="openvino")
for side in (224, 240):
    upscaler.upscale(numpy.zeros((side, side, 3), "uint8"))
del upscaler
os.kill(os.getpid(), signal.SIGINT)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "handled\n")


def test_weights_between_are_the_mean_of_both(photo_weights: Path) -> None:
    plain, photo = (blended_weights(find_weights(name, 4))[1] for name in ("bgai", "photo"))
    config, tensors = blended_weights(find_weights(None, 4, clean=0.25))
    assert config == blended_weights(find_weights("bgai", 4))[0]
    for name, tensor in tensors.items():
        assert tensor.dtype == np.float32
        np.testing.assert_allclose(tensor, 0.75 * plain[name] + 0.25 * photo[name], rtol=0, atol=1e-6)


def test_weights_of_two_networks_have_nothing_between() -> None:
    two, four = (find_weights(None, scale) for scale in (2, 4))
    with pytest.raises(WeightsError, match="not of the same network"):
        blended_weights(dataclasses.replace(four, other=two.file, clean=0.5))


def test_graphs_of_other_weights_are_not_taken_for_these(tmp_path: Path) -> None:
    config, tensors = blended_weights(find_weights(None, 4))
    tile = np.full((1, 3, 8, 8), 0.5, np.float32)
    results = []
    for added in (0, 1e-3):
        tensors["head.bias"][0] += added
        results.append(openvino_engine.OpenVinoEngine(config, tensors, tmp_path)(tile))
    assert len(list(tmp_path.glob("*.graph"))) == 2
    assert np.abs(results[1] - results[0]).max() == pytest.approx(1e-3, abs=1e-5)


@pytest.mark.parametrize("size", [(64, 96), (40, 50), (5, 100)])
@pytest.mark.parametrize("shape", [{"window": 8, "blocks": 3}, {"channels": 16, "groups": 2, "mlp_ratio": 4}])
def test_networks_of_other_shapes(size: tuple[int, int], shape: dict[str, int]) -> None:
    torch.manual_seed(0)
    network = BGAI(NetworkConfig(2, **shape)).eval()
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    tiles = np.random.default_rng(0).random((1, 3, *size), np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(tiles)).numpy()
    engine = openvino_engine.OpenVinoEngine(network.config, tensors, None)
    np.testing.assert_allclose(engine(tiles), expected, rtol=0, atol=1e-4)


def test_a_graph_of_one_size_agrees_with_the_network() -> None:
    weights = find_weights(None, 4)
    engine = openvino_engine.OpenVinoEngine(*read_weights(weights.file), None)
    engine.prepare((40, 50), 1000)
    assert list(engine._requests) == [(40, 50)]
    tiles = np.random.default_rng(0).random((1, 3, 40, 50), np.float32)
    with torch.inference_mode():
        expected = load_network(weights.file)(torch.from_numpy(tiles)).numpy()
    np.testing.assert_allclose(engine(tiles, 1000), expected, rtol=0, atol=1e-4)
    assert list(engine._requests) == [(40, 50)]


@pytest.mark.parametrize(
    ("size", "precision", "tolerance"),
    [((150, 33), "float32", 2e-5), ((1, 70), "float32", 2e-5), ((40, 50), "half", 1e-1)],
)
def test_parts_make_no_difference(
    size: tuple[int, int], precision: Precision, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if precision == "half" and "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bfloat16 arithmetic")
    weights = read_weights(find_weights(None, 4).file)
    tiles = np.random.default_rng(0).random((1, 3, *size), np.float32)
    with torch.inference_mode():
        expected = load_network(find_weights(None, 4).file)(torch.from_numpy(tiles)).numpy()
    steps = []
    for numbers in (10**9, 20_000):
        monkeypatch.setattr(graph, "_PART", numbers)
        engine = openvino_engine.OpenVinoEngine(*weights, None, precision)
        np.testing.assert_allclose(engine(tiles, 10_000), expected, rtol=0, atol=tolerance)
        model = engine._requests[size].get_compiled_model().get_runtime_model()
        steps.append(len(model.get_ops()))
    assert steps[1] > steps[0] + 500


def test_a_graph_of_one_size_agrees_with_the_released_network(shared: Path) -> None:
    """Above the size from which graphs are made for one size alone."""
    weights = find_weights(shared / "weights/official/BGAI_x4.pth")
    tiles = np.random.default_rng(0).random((1, 3, 232, 215), np.float32)
    engine = open_engine(weights, "openvino")
    with torch.inference_mode():
        expected = load_network(weights.file)(torch.from_numpy(tiles)).numpy()
    np.testing.assert_allclose(engine(tiles), expected, rtol=0, atol=1e-4)
    assert list(engine._requests) == [(232, 215)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-5), (True, 1e-2)])
def test_what_runs_on_cuda_gives_what_the_network_does(half: bool, tolerance: float) -> None:
    file = find_weights(None, 4).file
    x = torch.rand(1, 3, 20, 33, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = load_network(file)(x)
    result = CudaNetwork(load_network(file), torch.device("cpu"), half)(x)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected, atol=tolerance, rtol=0)


def test_cudnn_is_used_and_rounds_nothing() -> None:
    network = load_network(find_weights(None, 4).file)
    found = []
    network.register_forward_hook(
        lambda *_: found.append((torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32))
    )
    CudaNetwork(network, torch.device("cpu"))(torch.rand(1, 3, 8, 8))
    assert found == [(True, False)]


def test_shapes_that_keep_coming_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = []

    def record(network: BGAI, x: torch.Tensor) -> BGAI:
        recorded.append(tuple(x.shape[-2:]))
        return network

    monkeypatch.setattr(cuda_network, "_Recording", record)
    network = CudaNetwork(load_network(find_weights(None, 4).file), torch.device("cpu"))
    network._records = True
    for width in (8, 8, 16, 16, 16, 16, 8, 8, 8):
        assert network(torch.zeros(1, 3, 16, width)).shape == (1, 3, 64, 4 * width)
    assert recorded == [(16, 16), (16, 8)]


cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.gpu
@cuda
@pytest.mark.parametrize(("wish", "tolerance"), [({}, 1e-4), ({"precision": "half"}, 1e-2)], ids=str)
def test_recorded_launches_give_what_the_first_ones_did(wish: dict[str, Any], tolerance: float) -> None:
    engine = open_engine(find_weights(None, 4), "torch", "cuda", **wish)
    random = np.random.default_rng(0)
    tiles = [random.random((1, 3, 64, 80), np.float32) for _ in range(6)]
    expected = [open_engine(find_weights(None, 4), "torch", "cpu")(tile) for tile in tiles]
    for result, reference in zip([engine(tile) for tile in tiles], expected, strict=True):
        np.testing.assert_allclose(result, reference, rtol=0, atol=tolerance)
    engine(random.random((1, 3, 40, 24), np.float32))  # another shape, and back
    np.testing.assert_allclose(engine(tiles[0]), expected[0], rtol=0, atol=tolerance)


@pytest.mark.gpu
@pytest.mark.slow
@cuda
def test_a_compiled_network_gives_the_same() -> None:
    engine = open_engine(find_weights(None, 4), "torch", "cuda", compile=True)
    reference = open_engine(find_weights(None, 4), "torch", "cpu")
    for size in ((64, 80), (64, 80), (64, 80), (64, 80), (33, 21)):
        tiles = np.random.default_rng(0).random((1, 3, *size), np.float32)
        np.testing.assert_allclose(engine(tiles), reference(tiles), rtol=0, atol=1e-4)


@pytest.mark.gpu
@cuda
def test_cuda_agrees_with_the_cpu() -> None:
    tiles = np.random.default_rng(0).random((1, 3, 64, 80), np.float32)
    results = [open_engine(find_weights(None, 4), "torch", device)(tiles) for device in ("cpu", "cuda")]
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=1e-4)
