"""The engine of the core install: what it keeps of the images that it has enlarged."""

from __future__ import annotations

import weakref
from unittest import mock

import numpy as np
import pytest

from bgai.engines import openvino_engine
from bgai.engines.openvino_engine import OpenVinoEngine
from bgai.weights.reading import read_weights
from bgai.weights.sources import find_weights


def test_a_result_is_not_kept() -> None:
    engine = OpenVinoEngine(*read_weights(find_weights(None, 2).file), None)
    result = engine(np.zeros((1, 3, 20, 24), np.float32))
    assert result.base is not None
    kept = weakref.ref(result.base)
    del result
    assert kept() is None


def test_the_graph_for_any_size_is_opened_anew_after_many_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "_MOST_SIZES", 2)
    engine = OpenVinoEngine(*read_weights(find_weights(None, 2).file), None)
    compiled = mock.Mock(wraps=engine._compile)
    monkeypatch.setattr(engine, "_compile", compiled)
    tiles = [np.full((1, 3, 8, side), 0.3, np.float32) for side in (8, 9, 8, 10, 11, 8)]
    results = [engine(tile) for tile in tiles]
    assert compiled.call_count == 3  # 8 and 9; 10 and 11; 8
    np.testing.assert_array_equal(results[0], results[-1])
