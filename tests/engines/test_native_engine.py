"""The engine native computes what the network computes, and its results depend on the image alone."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from support import NEEDS_COMPILER, texture

from bgai.engines import native_engine
from bgai.engines.native_engine import NativeEngine
from bgai.engines.native_library import load_library
from bgai.engines.selection import PRECISIONS, native_cache
from bgai.errors import EngineError
from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI
from bgai.types import Precision, RgbImage, Size, Tiles
from bgai.upscaling.memory_plan import PROCESS_BASE, plan_for_memory
from bgai.upscaling.pixels import enlarge_pixels
from bgai.weights.checkpoint import load_network
from bgai.weights.reading import read_weights
from bgai.weights.sources import find_weights

pytestmark = NEEDS_COMPILER


def engine(scale: int = 4, precision: Precision = "float32") -> NativeEngine:
    return NativeEngine(*read_weights(find_weights(None, scale).file), load_library(native_cache()), precision)


def noise(*size: int) -> Tiles:
    return np.random.default_rng(0).random((1, 3, *size), np.float32)


def memory_of(running: NativeEngine) -> mmap.mmap:
    assert running._memory
    return running._memory


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_agrees_with_the_network(scale: int) -> None:
    running, network = engine(scale), load_network(find_weights(None, scale).file)
    for size in ((1, 1), (7, 5), (16, 16), (33, 50), (100, 130), (3, 200), (200, 3)):
        tiles = noise(*size)
        with torch.inference_mode():
            expected = network(torch.from_numpy(tiles)).numpy()
        np.testing.assert_allclose(running(tiles), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_half_precision_is_within_one_level(scale: int) -> None:
    tiles: Tiles = (texture(120, 150)[None].transpose(0, 3, 1, 2) / 255).astype(np.float32)
    exact, half = (np.rint(255 * engine(scale, precision)(tiles).clip(0, 1)) for precision in PRECISIONS)
    differing = np.abs(half - exact)
    assert differing.max() == 1
    assert np.count_nonzero(differing) < 5e-4 * exact.size


@pytest.mark.parametrize("size", [(100, 130), (20, 300), (33, 31)])
def test_the_number_of_threads_makes_no_difference(size: Size, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = noise(*size)
    results = []
    for threads in (1, 2, 3, 5, 16):
        monkeypatch.setattr(native_engine, "usable_cores", lambda threads=threads: threads)
        results.append(engine()(tiles))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_what_the_memory_held_makes_no_difference() -> None:
    sizes = [(30, 41), (50, 64), (17, 90), (48, 52), (64, 64), (3, 3), (49, 55), (60, 60)]
    expected = [engine()(noise(*size)) for size in sizes]
    running = engine()
    running(noise(70, 70))
    for rubbish in (np.nan, 1e30, -1.0):
        for size, result in zip(sizes, expected, strict=True):
            np.frombuffer(memory_of(running), np.float32)[:] = rubbish
            np.testing.assert_array_equal(running(noise(*size)), result)


def test_memory_is_kept_for_the_next_tile_and_released() -> None:
    running = engine()
    running(noise(40, 40))
    memory = memory_of(running)
    size = len(memory)
    running(noise(20, 30))
    assert running._memory is memory
    assert len(memory) == size
    running(noise(60, 40))
    assert running._memory is memory  # with the pages that were touched
    assert len(memory) > size
    running.release()
    assert running._memory is None


def test_a_stop_whose_traceback_lives_on_does_not_hold_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    running = engine()
    expected = running(noise(60, 40))
    running.release()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as stop:  # holds the frames
        patch.setattr(running._library, "enlarge_planes", Mock(side_effect=KeyboardInterrupt))
        running(noise(20, 30))
    np.testing.assert_array_equal(running(noise(60, 40)), expected)
    memory_of(running).close()  # which it could not if something referred to it
    assert stop.value


@pytest.mark.parametrize("threads", [1, 2, 16, 64])
@pytest.mark.parametrize("size", [(256, 256), (512, 704), (96, 1088)])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_pixel_takes_as_much_memory_as_it_says(precision: Precision, size: Size, threads: int) -> None:
    running = engine(precision=precision)
    height, width = size
    of_pictures = 4 * height * width * 3 * (running.scale**2 + 1)
    taken = running._library.memory_size(height, width, precision == "half", threads) + of_pictures
    assert 0.85 < taken / (height * width) / running.bytes_per_pixel < 1


@pytest.mark.parametrize("size", [(1, 30000), (30000, 1), (30000, 17), (20000, 40), (9000, 70), (3000, 2500)])
@pytest.mark.parametrize("memory", [2**30, 2**32])
def test_tiles_of_any_shape_fit_into_the_memory(memory: int, size: Size) -> None:
    running = engine()
    image = np.broadcast_to(np.uint8(0), (*size, 3))
    rows, columns = plan_for_memory(image, running, 48, memory)
    taken = running._library.memory_size(rows[0].length, columns[0].length, False, 64)
    assert taken < memory - PROCESS_BASE


def nearly_flat(height: int, width: int) -> RgbImage:
    """Grey, with faint and with coloured pixels here and there."""
    random = np.random.default_rng(0)
    faint, coloured = random.random((2, height, width, 1)) < 0.05
    grey = 120 + faint * random.integers(0, 30, (height, width, 1))
    return np.where(coloured, random.integers(0, 256, (height, width, 3)), grey).astype(np.uint8)


def exaggerating(scale: int, precision: Precision) -> NativeEngine:
    """Leaves the range of the source at every pixel."""
    config, tensors = read_weights(find_weights(None, scale).file)
    bias = tensors["head.bias"] + np.random.default_rng(1).normal(0, 1, tensors["head.bias"].shape)
    return NativeEngine(
        config, {**tensors, "head.bias": bias.astype(np.float32)}, load_library(native_cache()), precision
    )


@pytest.mark.parametrize("make", [engine, exaggerating])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pixels_of_8_bits_become_what_they_would_in_python(
    make: Callable[[int, Precision], NativeEngine], scale: int, precision: Precision
) -> None:
    running = make(scale, precision)
    for size in ((8, 1), (1, 9), (16, 16), (33, 50), (70, 130)):
        image = nearly_flat(*size)
        expected = enlarge_pixels(image, lambda tile: running(tile)[0], scale)
        np.testing.assert_array_equal(running.enlarge_rgb8(image), expected)
        turned = image[::-1, ::-1]
        np.testing.assert_array_equal(running.enlarge_rgb8(turned), running.enlarge_rgb8(turned.copy()))


def test_numbers_that_may_be_too_large_are_left_to_python() -> None:
    config, tensors = read_weights(find_weights(None, 2).file)
    for value, is_left in ((1e18, False), (-1e20, True), (np.inf, True), (np.nan, True)):
        bias = np.where(np.arange(12) == 7, np.float32(value), tensors["head.bias"])
        weights = {**tensors, "head.bias": bias}
        running = NativeEngine(config, weights, load_library(native_cache()))
        assert (running.enlarge_rgb8(texture(20, 24)) is None) == is_left


def test_several_tiles_at_once() -> None:
    running, tiles = engine(), np.random.default_rng(1).random((3, 3, 20, 24), np.float32)
    together = running(tiles)
    for tile, result in zip(tiles, together, strict=True):
        np.testing.assert_array_equal(running(tile[None])[0], result)


def test_threads_may_share_it() -> None:
    running, sizes = engine(), [(20, 30), (40, 24), (33, 50), (16, 16)] * 3
    expected = [engine()(noise(*size)) for size in sizes]
    with ThreadPoolExecutor(4) as pool:
        for result, right in zip(pool.map(lambda size: running(noise(*size)), sizes), expected, strict=True):
            np.testing.assert_array_equal(result, right)


def test_networks_of_other_settings_are_refused() -> None:
    network = BGAI(NetworkConfig(2, channels=16))
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    with pytest.raises(EngineError, match="the paper's settings alone; choose the engine openvino"):
        NativeEngine(network.config, tensors, load_library(native_cache()))


def test_memory_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    running = engine()
    expected = running(noise(20, 30))
    for enlarge in (lambda: running(noise(20, 30)), lambda: running.enlarge_rgb8(texture(20, 30))):
        with monkeypatch.context() as patch:
            patch.setattr(running, "_library", Mock(memory_size=lambda *_: 10**16))
            for _ in range(2):  # with memory that is kept, and with none
                with pytest.raises(EngineError, match="tiles of 30 x 20 need more memory than the engine native can"):
                    enlarge()
                running.release()
    np.testing.assert_array_equal(running(noise(20, 30)), expected)


def test_the_library_is_loaded_once() -> None:
    cache = native_cache()
    assert load_library(cache) is load_library(cache)
