"""The graph of the core install's engine."""

from __future__ import annotations

from bgai.engines.openvino_graph import build_graph
from bgai.types import Size
from bgai.weights.reading import read_weights
from bgai.weights.sources import find_weights


def test_a_large_tile_takes_no_larger_graph() -> None:
    """Of ever more parts, it would take longer to compile and to load, and hundreds of MiB."""
    config, tensors = read_weights(find_weights(None, 4).file)

    def operators(size: Size) -> int:
        return len(build_graph(tensors, config, size).get_ops())

    assert operators((64, 64)) < operators((600, 560)) < operators((1080, 704)) < 1.2 * operators((600, 560))
