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


def test_a_graph_of_one_result_for_all_sizes_is_refused(tmp_path: Path) -> None:
    save_graph(tmp_path / "a.onnx", [helper.make_node("ConstantOfShape", ["sizes"], ["sr"])])
    graph = onnx.load(tmp_path / "a.onnx")
    graph.graph.initializer.append(helper.make_tensor("sizes", onnx.TensorProto.INT64, (4,), [1, 3, 2, 2]))
    onnx.save(graph, tmp_path / "a.onnx")
    engine = OnnxEngine(tmp_path / "a.onnx")
    with pytest.raises(WeightsError, match=r"gives \(1, 3, 2, 2\) for an image of 9 x 8 pixels"):
        engine(np.zeros((1, 3, 8, 9), np.float32))


@pytest.mark.parametrize("content", [b"", b"text", b"\x0a\xff", b"\x08\x09:\x90\x02", b"node {\xff}"], ids=repr)
def test_a_file_that_is_no_graph_is_one_line(content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match=r"a\.onnx: (damaged, or not an ONNX graph|does not take B x 3 x H x W)"):
        OnnxEngine(tmp_path / "a.onnx")
    assert capfd.readouterr() == ("", "")  # nothing of the readers for other frameworks


def test_a_graph_without_a_result_is_refused(tmp_path: Path) -> None:
    save_graph(tmp_path / "a.onnx", [helper.make_node("Relu", ["lr"], ["sr"])])
    graph = onnx.load(tmp_path / "a.onnx")
    del graph.graph.output[:]
    onnx.save(graph, tmp_path / "a.onnx")
    with pytest.raises(WeightsError, match="does not take B x 3 x H x W images"):
        OnnxEngine(tmp_path / "a.onnx")


def test_an_input_without_a_type_is_refused(tmp_path: Path) -> None:
    save_repeating_graph(tmp_path / "a.onnx", 0.0)
    graph = onnx.load(tmp_path / "a.onnx")
    graph.graph.input[0].type.tensor_type.ClearField("elem_type")
    onnx.save(graph, tmp_path / "a.onnx")
    with pytest.raises(WeightsError, match="damaged, or not an ONNX graph"):
        OnnxEngine(tmp_path / "a.onnx")


def test_bytes_of_the_file_in_a_message_are_no_traceback(tmp_path: Path) -> None:
    save_graph(tmp_path / "a.onnx", [helper.make_node("Relu", ["lr"], ["sr"], name="relu")])
    content = (tmp_path / "a.onnx").read_bytes()
    for place in range(len(content)):
        (tmp_path / "b.onnx").write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        with pytest.raises(WeightsError):
            OnnxEngine(tmp_path / "b.onnx")


def test_a_graph_gives_its_memory_back(tmp_path: Path) -> None:
    save_repeating_graph(tmp_path / "a.onnx", 0)
    engine = OnnxEngine(tmp_path / "a.onnx")
    tile = np.zeros((1, 3, 1500, 1500), np.float32)
    for give_back in (engine.release, engine.rest):
        engine(tile)
        busy = psutil.Process().memory_info().rss
        give_back()
        assert psutil.Process().memory_info().rss < busy - 100 * 2**20
