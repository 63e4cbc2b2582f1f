"""The engine native computes what the network computes, and its results depend on the image alone."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import psutil
import pytest
import torch
from support import NEEDS_COMPILER

from bgai.engines import native_blocks, openvino_engine
from bgai.engines.native_engine import NativeEngine
from bgai.engines.native_library import load_library
from bgai.errors import EngineError
from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI
from bgai.types import Size, Tiles
from bgai.weights.checkpoint import load_network
from bgai.weights.reading import read_weights
from bgai.weights.sources import cache_folder, find_weights

pytestmark = NEEDS_COMPILER


def engine(scale: int = 4, threads: int = 2) -> NativeEngine:
    running = NativeEngine(*read_weights(find_weights(None, scale).file), cache_folder() / "native")
    running._settings["INFERENCE_NUM_THREADS"] = str(threads)
    return running


def noise(*size: int) -> Tiles:
    return np.random.default_rng(0).random((1, 3, *size), np.float32)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("count", [1, 1_000_000])
def test_it_agrees_with_the_network(scale: int, count: int) -> None:
    """By the graph for any size, and by graphs for one."""
    running, network = engine(scale), load_network(find_weights(None, scale).file)
    for size in ((1, 1), (7, 5), (16, 16), (33, 50), (100, 130)):
        tiles = noise(*size)
        with torch.inference_mode():
            expected = network(torch.from_numpy(tiles)).numpy()
        np.testing.assert_allclose(running(tiles, count), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("size", [(100, 130), (20, 300)])
def test_the_number_of_threads_makes_no_difference(size: Size) -> None:
    tiles = noise(*size)
    expected = engine(threads=1)(tiles)
    for threads in (2, 3, 5, 16):
        np.testing.assert_array_equal(engine(threads=threads)(tiles), expected)


def test_what_ran_before_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_engine, "_ANY_SIZE_PIXELS", 40 * 60)
    sizes = [(30, 41), (50, 64), (17, 90), (48, 52), (64, 64), (3, 3), (49, 55), (60, 60)]
    expected = [engine()(noise(*size)) for size in sizes]
    running = engine()
    for step in (1, -1, 3):
        for size, result in list(zip(sizes, expected, strict=True))[::step]:
            np.testing.assert_array_equal(running(noise(*size)), result)
        running.release() if step == 1 else running.rest()


def test_several_tiles_at_once() -> None:
    running, tiles = engine(), np.random.default_rng(1).random((3, 3, 20, 24), np.float32)
    together = running(tiles)
    for tile, result in zip(tiles, together, strict=True):
        np.testing.assert_array_equal(running(tile[None])[0], result)


def test_networks_of_other_settings_are_refused() -> None:
    network = BGAI(NetworkConfig(2, channels=16))
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    with pytest.raises(EngineError, match="the paper's settings alone; choose the engine openvino"):
        NativeEngine(network.config, tensors, cache_folder() / "native")


def test_memory_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    running = engine()
    with pytest.raises(MemoryError):
        running._blocks.reserve((10**6, 10**6), 2)
    expected = running(noise(20, 30))
    running.release()
    with monkeypatch.context() as patch:
        patch.setattr(native_blocks, "SCRATCH", 10**12)
        with pytest.raises(EngineError, match="tiles of 30 x 20 need more memory than the engine native can have"):
            running(noise(20, 30))
    np.testing.assert_array_equal(running(noise(20, 30)), expected)


def test_an_engine_that_is_gone_leaves_nothing() -> None:
    running = engine()
    running(noise(20, 30))
    running(noise(20, 30), 1_000_000)
    blocks = weakref.ref(running._blocks)
    del running
    gc.collect()
    assert blocks() is None


def test_graphs_are_freed() -> None:
    """One takes 3 MB."""
    running, process = engine(), psutil.Process()
    for width in range(20):
        if width == 4:
            before = process.memory_info().rss
        running.rest()
        running.prepare((16, 16 + width), 1_000_000)
    assert process.memory_info().rss < before + 16 * 1.5 * 2**20


def test_the_library_is_loaded_once() -> None:
    cache = cache_folder() / "native"
    assert load_library(cache) is load_library(cache)
