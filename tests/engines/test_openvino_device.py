"""OpenVINO's GPUs and NPUs, on the CPU in their place: the same code with another name of a device."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bgai.engines.openvino_device
from bgai.engines.graph_cache import GraphCache
from bgai.engines.openvino_device import OpenVinoDeviceEngine
from bgai.engines.openvino_engine import OpenVinoEngine
from bgai.engines.openvino_runtime import core
from bgai.engines.selection import choose, open_engine
from bgai.errors import EngineError
from bgai.types import Precision, Tiles
from bgai.weights.reading import read_weights
from bgai.weights.sources import SHIPPED, find_weights

WEIGHTS = read_weights(SHIPPED / "bgai_x2.safetensors")


@pytest.fixture(scope="module")
def tiles() -> Tiles:
    return np.random.default_rng(1).random((2, 3, 13, 18), np.float32)


def enlarged(tiles: Tiles, precision: Precision = "float32", cache: Path | None = None) -> Tiles:
    return OpenVinoDeviceEngine(*WEIGHTS, cache, "cpu", precision)(tiles)


class Core:
    """OpenVINO with a GPU and an NPU, of which the CPU does the work, as far as these can."""

    available_devices = ("CPU", "GPU", "NPU")

    def __init__(self, **capabilities: list[str]) -> None:
        self._capabilities = capabilities

    def get_property(self, device: str, name: str) -> Any:
        if name == "GPU_DEVICE_TOTAL_MEM_SIZE":
            return 12_345
        return self._capabilities[device] if name == "OPTIMIZATION_CAPABILITIES" else "stand-in"

    def compile_model(self, model: Any, device: str, settings: dict[str, str]) -> Any:
        if device == "NPU":
            raise RuntimeError("the NPU's compiler gives up")
        return core().compile_model(model, "CPU", {**settings, "INFERENCE_PRECISION_HINT": "f32"})


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = Core(CPU=["FP32", "FP16"], GPU=["FP32", "FP16"], NPU=["FP16"])
    monkeypatch.setattr(bgai.engines.openvino_device, "core", lambda: stand_in)
    monkeypatch.setattr("bgai.engines.graph_cache.core", lambda: stand_in)


def test_the_result_is_the_other_engines(tiles: Tiles, tmp_path: Path) -> None:
    expected = OpenVinoEngine(*WEIGHTS, None)(tiles)
    np.testing.assert_allclose(enlarged(tiles, cache=tmp_path), expected, rtol=0, atol=2e-5)
    assert list(tmp_path.glob("*.graph"))


def test_half_precision_is_close(tiles: Tiles) -> None:
    if not {"FP16", "BF16"} & set(core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")):
        pytest.skip("this CPU has no arithmetic of half precision")
    difference = np.abs(enlarged(tiles, "half") - enlarged(tiles))
    assert 0 < difference.mean() < 1 / 255


def test_graphs_are_for_one_size_and_four_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenVinoDeviceEngine, "_compile", lambda *_: None)
    engine = OpenVinoDeviceEngine(*WEIGHTS, None, "cpu")
    for width in range(8, 14):
        engine.prepare((8, width), 1)
    assert list(engine._requests) == [(8, width) for width in range(10, 14)]
    engine.rest()
    assert not engine._requests


@pytest.mark.usefixtures("devices")
def test_a_gpu_runs_in_its_own_arithmetic(tiles: Tiles, caplog: pytest.LogCaptureFixture) -> None:
    engine = OpenVinoDeviceEngine(*WEIGHTS, None, "gpu", "half")
    assert engine._settings["INFERENCE_PRECISION_HINT"] == "f16"
    assert engine(tiles).shape == (2, 3, 26, 36)
    assert (engine.device, engine.free_memory()) == ("gpu", 12_345)
    assert not caplog.records


@pytest.mark.usefixtures("devices")
def test_where_an_npu_gives_up_the_cpu_goes_on_and_a_note_says_so(
    tiles: Tiles, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        result = OpenVinoDeviceEngine(*WEIGHTS, None, "npu")(tiles)
    np.testing.assert_allclose(result, enlarged(tiles), rtol=0, atol=2e-5)
    assert [record.getMessage() for record in caplog.records] == [
        "npu computes in float16: results may be off by some levels of 255",
        "npu cannot run tiles of 18 x 13, so the CPU does: the NPU's compiler gives up",
    ]


@pytest.mark.parametrize("device", ["gpu", "gpu.1", "npu"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    if device.partition(".")[0].upper() in core().available_devices:
        pytest.skip("this machine has one")
    with pytest.raises(EngineError, match=f"device '{device}': OpenVINO sees cpu on this machine"):
        open_engine(find_weights("bgai", 2), device=device)


def test_the_device_decides_on_the_engine() -> None:
    weights = find_weights("bgai", 2)
    assert choose(weights, "auto", "npu")[:2] == ("openvino", "npu")
    assert choose(weights, "openvino", "gpu.1")[:2] == ("openvino", "gpu.1")


@pytest.mark.usefixtures("devices")
def test_graphs_of_two_devices_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[Path] = []
    monkeypatch.setattr(GraphCache, "_load", lambda self, file, *_: files.append(file))
    monkeypatch.setattr("bgai.engines.graph_cache._compile", lambda *_: None)
    monkeypatch.setattr(GraphCache, "_keep", lambda *_: None)
    for device in ("CPU", "GPU"):
        GraphCache(tmp_path, device).compile(lambda: None, "the same", {})
    assert len(set(files)) == 2
