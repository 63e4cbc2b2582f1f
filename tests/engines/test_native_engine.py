"""The engine native computes what the network computes, and its results depend on the image alone."""

from __future__ import annotations

import mmap
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
    kept = len(memory_of(running))
    running(noise(20, 30))
    assert len(memory_of(running)) == kept
    running(noise(60, 40))
    assert len(memory_of(running)) > kept
    running.release()
    assert running._memory is None


@pytest.mark.parametrize("size", [(256, 256), (512, 700), (96, 1080)])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_pixel_takes_as_much_memory_as_it_says(precision: Precision, size: Size) -> None:
    running = engine(precision=precision)
    height, width = size
    of_pictures = 4 * height * width * 3 * (running.scale**2 + 1)
    taken = running._library.memory_size(height, width, precision == "half", 2) + of_pictures
    assert 0.9 < taken / (height * width) / running.bytes_per_pixel < 1


def coloured_and_grey(height: int, width: int) -> RgbImage:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    image[: height // 2] = image[: height // 2, :, :1]
    image[:, : width // 3] = image[0, 0]
    image[height // 2 :, :4] = (3, 9, 200)
    return image


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pixels_of_8_bits_become_what_they_would_in_python(scale: int, precision: Precision) -> None:
    running = engine(scale, precision)
    for size in ((8, 1), (1, 9), (16, 16), (33, 50), (70, 130)):
        image = coloured_and_grey(*size)
        expected = enlarge_pixels(image, lambda tile: running(tile)[0], scale)
        np.testing.assert_array_equal(running.enlarge_rgb8(image), expected)
        np.testing.assert_array_equal(
            running.enlarge_rgb8(image[::-1, ::-1]), running.enlarge_rgb8(image[::-1, ::-1].copy())
        )


def test_numbers_that_may_be_too_large_are_left_to_python() -> None:
    config, tensors = read_weights(find_weights(None, 2).file)
    bias = next(name for name in tensors if name.startswith("head") and name.endswith("bias"))
    for value, is_left in ((1e18, False), (-1e20, True), (np.inf, True), (np.nan, True)):
        weights = {**tensors, bias: np.where(np.arange(12) == 7, np.float32(value), tensors[bias])}
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
    running.release()
    for enlarge in (lambda: running(noise(20, 30)), lambda: running.enlarge_rgb8(texture(20, 30))):
        with monkeypatch.context() as patch:
            patch.setattr(running, "_library", Mock(memory_size=lambda *_: 10**16))
            with pytest.raises(EngineError, match="tiles of 30 x 20 need more memory than the engine native can have"):
                enlarge()
    np.testing.assert_array_equal(running(noise(20, 30)), expected)


def test_the_library_is_loaded_once() -> None:
    cache = native_cache()
    assert load_library(cache) is load_library(cache)
