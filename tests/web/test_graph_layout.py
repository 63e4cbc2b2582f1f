"""Where the weights lie in ONNX files."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bgai.web.graph_layout import shared_ranges


def graph(*tensors: NDArray[np.generic], name: str = "graph", raw: bool = True) -> bytes:
    """An ONNX file with such tensors."""
    if raw:
        stored = [numpy_helper.from_array(values, f"t{i}") for i, values in enumerate(tensors)]
    else:
        stored = [helper.make_tensor(f"t{i}", onnx.TensorProto.FLOAT, t.shape, t) for i, t in enumerate(tensors)]
    model = helper.make_model(helper.make_graph([], name, [], [], stored))
    return bytes(model.SerializeToString())


def floats(*shape: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize("raw", [True, False])
def test_ranges_hold_the_values(raw: bool) -> None:
    first, second = ([floats(3, 50, seed=seed), floats(7, seed=seed + 1)] for seed in (0, 5))
    content = graph(*first, raw=raw)
    ranges = shared_ranges(content, graph(*second, raw=raw))
    assert ranges
    held = [np.frombuffer(content, "<f4", count, offset) for offset, count in ranges]
    assert all(np.array_equal(values, given.ravel()) for values, given in zip(held, first, strict=True))


def test_integers_are_no_weights() -> None:
    shape, values = np.array([1, 2, 300]), floats(5, seed=0)
    content = graph(shape, values)
    assert shared_ranges(content, content) == [(content.index(values.tobytes()), 5)]
    assert shared_ranges(content, graph(shape + 1, values)) is None


def test_files_of_another_layout_have_none() -> None:
    plain = graph(floats(3, 4, seed=0))
    assert shared_ranges(plain, graph(floats(4, 3, seed=1))) is None
    assert shared_ranges(plain, graph(floats(3, 5, seed=1))) is None
    assert shared_ranges(plain, graph(floats(3, 4, seed=1), name="other")) is None
