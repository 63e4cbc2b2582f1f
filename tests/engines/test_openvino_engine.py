"""The engine of the core install: what it keeps of the images that it has enlarged."""

from __future__ import annotations

import weakref

import numpy as np

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
