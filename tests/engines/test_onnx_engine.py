"""Graphs that are no graphs of ours, each refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from onnx import helper
from support import save_graph, save_repeating_graph

from bgai.engines.onnx_engine import OnnxEngine
from bgai.errors import WeightsError


def save_resizing_graph(path: Path, factor: float) -> None:
    resize = helper.make_node("Resize", ["lr", "", "factors"], ["sr"], mode="nearest")
    save_graph(path, [resize])
    graph = onnx.load(path)
    factors = helper.make_tensor("factors", onnx.TensorProto.FLOAT, (4,), [1, 1, factor, factor])
    graph.graph.initializer.append(factors)
    onnx.save(graph, path)


def test_a_huge_enlargement_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    save_resizing_graph(tmp_path / "a.onnx", 2)
    assert OnnxEngine(tmp_path / "a.onnx").scale == 2
    before = psutil.Process().memory_info().rss
    save_resizing_graph(tmp_path / "b.onnx", 40_000)
    with pytest.raises(WeightsError, match=r"gives \(1, 3, 40000, 40000\) for an image of one pixel"):
        OnnxEngine(tmp_path / "b.onnx")
    assert psutil.Process().memory_info().rss < before + 2**30


def test_a_graph_for_one_size_is_refused(tmp_path: Path) -> None:
    save_resizing_graph(tmp_path / "a.onnx", 2)
    graph = onnx.load(tmp_path / "a.onnx")
    for side in (2, 3):
        graph.graph.input[0].type.tensor_type.shape.dim[side].dim_value = 64
    onnx.save(graph, tmp_path / "a.onnx")
    with pytest.raises(WeightsError, match=r"gives|does not take B x 3 x H x W images of any size"):
        engine = OnnxEngine(tmp_path / "a.onnx")
        raise AssertionError(engine.scale)


def test_whole_numbers_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Concat", ["lr"] * 4, ["four"], axis=1),
        helper.make_node("DepthToSpace", ["four"], ["two"], blocksize=2),
        helper.make_node("Cast", ["two"], ["sr"], to=onnx.TensorProto.INT32),
    ]
    save_graph(tmp_path / "a.onnx", nodes)
    graph = onnx.load(tmp_path / "a.onnx")
    graph.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
    onnx.save(graph, tmp_path / "a.onnx")
    with pytest.raises(WeightsError, match="gives int32; expected float32"):
        OnnxEngine(tmp_path / "a.onnx")


def test_a_graph_gives_its_memory_back(tmp_path: Path) -> None:
    save_repeating_graph(tmp_path / "a.onnx", 0)
    engine = OnnxEngine(tmp_path / "a.onnx")
    tile = np.zeros((1, 3, 1500, 1500), np.float32)
    for give_back in (engine.release, engine.rest):
        engine(tile)
        busy = psutil.Process().memory_info().rss
        give_back()
        assert psutil.Process().memory_info().rss < busy - 100 * 2**20
