"""The upscaler: every kind of array, tiles against the whole image, transparency."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from PIL import Image
from support import NATIVE, NEEDS_COMPILER, save_repeating_graph, texture

import bgai
from bgai.engines.base import Rgb8Engine
from bgai.errors import EngineError, UsageError
from bgai.types import EngineName
from bgai.upscaling.pixels import enlarge_pixels
from bgai.upscaling.sizes import TargetSize
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.reading import read_weights
from bgai.weights.safetensors_file import read_metadata, write_weights
from bgai.weights.sources import DEFAULT_HALO, find_weights


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return bgai.Upscaler(scale=4, engine="openvino")


@pytest.mark.parametrize("channels", [None, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_kind_of_array_keeps_its_kind(channels: int | None, dtype: type, upscaler: Upscaler) -> None:
    image = texture(19, 26, channels or 1) / 255
    image = image if channels else image[..., 0]
    top = {"uint8": 255, "uint16": 65535, "float32": 1}[np.dtype(dtype).name]
    given: NDArray[Any] = (image * top).astype(dtype)
    before = given.copy()
    result = upscaler.upscale(given)
    assert result.dtype == dtype
    assert result.shape == (76, 104, *image.shape[2:])
    np.testing.assert_array_equal(given, before)
    # Depths agree with each other: what differs is the rounding of the input.
    reference = upscaler.upscale(image.astype(np.float32))
    difference = np.abs(result / top - reference)
    opaque = reference[..., -1] > 0.2 if channels in (2, 4) else np.full(result.shape[:2], True)
    assert difference[opaque].mean() < 0.01


def test_what_it_gives_is_an_enlargement(upscaler: Upscaler) -> None:
    from bgai.datasets.matlab_resize import imresize
    from bgai.evaluation.metrics import psnr

    hr = texture(128, 160)
    hr = imresize(imresize(hr, 1 / 2), 2)
    lr = imresize(hr, 1 / 4)
    assert psnr(upscaler.upscale(lr), hr, 4) > psnr(imresize(lr, 4), hr, 4)


@pytest.mark.parametrize(
    ("engine", "scale"),
    [("openvino", 2), ("openvino", 3), ("openvino", 4), pytest.param("native", 2, marks=NEEDS_COMPILER)],
)
def test_whole_and_tiled_agree_inside(engine: EngineName, scale: int) -> None:
    image = texture(320, 320)
    whole = Upscaler(scale, tile=0, engine=engine).upscale(image)
    tiled = Upscaler(scale, tile=240, engine=engine).upscale(image)
    border = 64 * scale
    difference = np.abs(whole.astype(int) - tiled)[border:-border, border:-border]
    assert difference.size > 400_000
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-4


def test_the_halo_is_that_of_the_weights(tmp_path: Path) -> None:
    shipped = find_weights(None, 4)
    assert Upscaler(engine="openvino").halo == shipped.halo == int(read_metadata(shipped.file)["halo"])
    write_weights(*read_weights(shipped.file), tmp_path / "unknown.safetensors")
    assert Upscaler(weights=tmp_path / "unknown.safetensors", engine="openvino").halo == DEFAULT_HALO
    assert Upscaler(engine="openvino", halo=8).halo == 8


def test_clean_leads_from_one_set_of_weights_to_the_other(photo_weights: Path) -> None:
    image = texture(20, 24).astype(np.float32) / np.float32(255)
    ends = [Upscaler(4, name, "openvino").upscale(image) for name in ("bgai", "photo")]
    results = [Upscaler(4, engine="openvino", clean=clean).upscale(image) for clean in (0, 0.5, 1)]
    np.testing.assert_array_equal(results[0], ends[0])
    np.testing.assert_array_equal(results[2], ends[1])
    np.testing.assert_array_equal(Upscaler(engine="openvino").upscale(image), ends[0])
    steps = [np.abs(a - b).mean() for a, b in ((ends[0], ends[1]), (results[0], results[1]), (results[1], results[2]))]
    assert min(steps[1:]) > 0.2 * steps[0] > 0
    torch = Upscaler(4, engine="torch", device="cpu", clean=0.5).upscale(image)
    assert np.abs(torch - results[1]).max() < 1e-4


@NEEDS_COMPILER
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        *(((90, 100, 3), dtype) for dtype in (np.uint8, np.uint16, np.float32)),
        *((shape, np.uint8) for shape in ((7, 7, 3), (20, 20, 4), (20, 20, 2), (20, 20))),
    ],
)
def test_the_short_way_of_an_engine_gives_what_the_long_one_does(
    shape: tuple[int, ...], dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = texture(shape[0], shape[1], shape[2] if shape[2:] else 1).reshape(shape) / np.float32(255)
    image: NDArray[Any] = samples if dtype == np.float32 else (samples * np.iinfo(dtype).max).astype(dtype)
    upscaler = Upscaler(engine="native", tile=64, halo=16)
    assert isinstance(upscaler.engine, Rgb8Engine)
    short = Mock(wraps=upscaler.engine.enlarge_rgb8)
    with monkeypatch.context() as patch:
        patch.setattr(upscaler.engine, "enlarge_rgb8", short)
        result = upscaler.upscale(image)
    assert short.called == (shape == (90, 100, 3) and dtype == np.uint8)
    monkeypatch.setattr(upscaler, "_enlarge_rgb8", lambda tile: None)
    np.testing.assert_array_equal(upscaler.upscale(image), result)


def test_strips_are_the_image_from_the_top() -> None:
    image = texture(150, 40)
    tiled = Upscaler(tile=64, halo=16, engine="openvino")
    strips = list(tiled.strips(image))
    assert len(strips) > 2
    np.testing.assert_array_equal(np.concatenate(strips), tiled.upscale(image))


@pytest.mark.parametrize("engine", ["torch", NATIVE])
def test_both_engines_agree(engine: EngineName) -> None:
    image = texture(40, 56)
    results = [Upscaler(engine=name, device="cpu").upscale(image) for name in ("openvino", engine)]
    assert np.abs(results[0].astype(int) - results[1]).max() <= 1


def test_progress_counts_every_output_pixel_once() -> None:
    calls: list[tuple[int, int]] = []
    Upscaler(tile=64, halo=16, engine="openvino").upscale(texture(90, 100), progress=lambda *call: calls.append(call))
    assert calls == sorted(calls)
    assert len(calls) > 3
    assert calls[-1] == (90 * 100 * 16, 90 * 100 * 16)
    assert {total for _, total in calls} == {90 * 100 * 16}


def test_grey_stays_near_the_same_picture_in_colour(upscaler: Upscaler) -> None:
    grey = texture(24, 24, 1)[..., 0]
    colour = upscaler.upscale(np.repeat(grey[..., None], 3, axis=2))
    assert np.abs(upscaler.upscale(grey).astype(int) - colour.mean(axis=2)).mean() < 2


def disc(background: int) -> np.ndarray:
    """An opaque red disc; what lies hidden under full transparency is `background`."""
    y, x = np.mgrid[:48, :48]
    inside = np.clip(16.5 - np.hypot(y - 23.5, x - 23.5), 0, 1)
    image = np.full((48, 48, 4), background, np.uint8)
    image[inside > 0] = (220, 30, 40, 0)
    image[..., 3] = np.rint(inside * 255)
    return image


def test_hidden_colours_do_not_bleed(upscaler: Upscaler) -> None:
    black, white = (upscaler.upscale(disc(background)) for background in (0, 255))
    np.testing.assert_array_equal(black, white)


def test_edges_have_no_fringe(upscaler: Upscaler) -> None:
    result = upscaler.upscale(disc(255)).astype(int)
    edge = (result[..., 3] > 0) & (result[..., 3] < 255)
    assert edge.sum() > 100
    # The disc has one colour; an edge mixed with hidden white would be far brighter in green and blue.
    assert (result[edge][:, :3] == (220, 30, 40)).all()
    # Nor a rim inside, where the network sees the disc end in black.
    solid = result[result[..., 3] == 255][:, :3]
    assert np.abs(solid - (220, 30, 40)).max() < 10
    hidden = result[result[..., 3] == 0][:, :3]
    assert ((hidden == 0) | (hidden == (220, 30, 40))).all()


def test_opaque_stays_opaque_and_clear_stays_clear(upscaler: Upscaler) -> None:
    result = upscaler.upscale(disc(255))
    assert (result[88:104, 88:104, 3] == 255).all()
    assert (result[:12, :12, 3] == 0).all()


def test_an_opaque_picture_is_what_it_is_without_alpha(upscaler: Upscaler) -> None:
    image = texture(30, 30)
    opaque = np.dstack((image, np.full((30, 30), 255, np.uint8)))
    result = upscaler.upscale(opaque)
    np.testing.assert_array_equal(result[..., :3], upscaler.upscale(image))
    assert (result[..., 3] == 255).all()


def test_whole_and_tiled_agree_inside_with_transparency() -> None:
    image = np.dstack((texture(48, 320), np.full((48, 320), 128, np.uint8)))
    image[:, 150:170, 3] = 255
    whole, tiled = (Upscaler(tile=tile, engine="openvino").upscale(image).astype(int) for tile in (0, 160))
    difference = np.abs(whole - tiled)[:, 256:-256]
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("engine", ["openvino", "torch", NATIVE])
def test_the_smallest_picture(engine: EngineName) -> None:
    assert Upscaler(engine=engine, device="cpu").upscale(np.full((1, 1), 7, np.uint8)).shape == (4, 4)


@pytest.mark.parametrize("channels", [2, 4])
def test_transparent_throughout(channels: int, upscaler: Upscaler) -> None:
    image = texture(20, 24, channels)
    image[..., -1] = 0
    enlarged = upscaler.upscale(image)
    assert enlarged.shape == (80, 96, channels)
    assert not enlarged.any()
    pixels = enlarge_pixels(image, lambda _: np.zeros((3, 40, 48), np.float32), 2)
    assert pixels.shape == (40, 48, channels)


def test_half_transparent_throughout(upscaler: Upscaler) -> None:
    image = np.dstack((texture(20, 20), np.full((20, 20), 128, np.uint8)))
    assert (upscaler.upscale(image)[..., 3] == 128).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((4, 4), np.int32), "int32"),
        (np.full((4, 4), 2, np.float32), r"expected values in \[0, 1\]"),
        (np.full((4, 4), np.nan, np.float32), r"expected values in \[0, 1\]"),
    ],
)
def test_other_arrays_are_refused(image: np.ndarray, message: str, upscaler: Upscaler) -> None:
    with pytest.raises(UsageError, match=message):
        upscaler.upscale(image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 100}, "tile 100"),
        ({"halo": 10}, "halo 10"),
        ({"tile": 64, "halo": 32}, "leaves nothing"),
        ({"tile": -16}, "tile -16"),
        ({"scale": 7}, "scale 7"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Upscaler(**options)


def test_weights_of_another_scale_are_refused() -> None:
    from bgai.weights.sources import find_weights

    with pytest.raises(UsageError, match="enlarges ×4"):
        Upscaler(scale=2, weights=find_weights(None, 4).file)


@pytest.mark.parametrize("engine", ["openvino", NATIVE])
def test_the_same_call_gives_the_same_pixels(engine: EngineName) -> None:
    upscaler = Upscaler(engine=engine)
    small, large = texture(64, 70), texture(60, 100)
    first = upscaler.upscale(small)
    tiled = Upscaler(engine=engine, tile=48, halo=16)
    first_tiled = tiled.upscale(large)
    for index in range(50):
        np.testing.assert_array_equal(upscaler.upscale(small), first)
        if index % 10 == 0:
            np.testing.assert_array_equal(tiled.upscale(large), first_tiled)
            upscaler.upscale(texture(20 + index, 31))
    np.testing.assert_array_equal(Upscaler(engine=engine).upscale(small), first)


@pytest.mark.parametrize("engine", ["openvino", "torch", NATIVE])
def test_results_that_are_not_finite_are_an_error(engine: EngineName, tmp_path: Path) -> None:
    config, tensors = read_weights(find_weights(None, 2).file)
    exploding = {name: tensor * np.float32(1e15 if tensor.ndim == 4 else 1) for name, tensor in tensors.items()}
    write_weights(config, exploding, tmp_path / "exploding.safetensors")
    upscaler = Upscaler(weights=tmp_path / "exploding.safetensors", engine=engine, device="cpu")
    with pytest.raises(EngineError, match=r"exploding\.safetensors: the results are not finite"):
        upscaler.upscale(texture(20, 20))


def test_a_graph_that_gives_nan_is_an_error(tmp_path: Path) -> None:
    save_repeating_graph(tmp_path / "nan.onnx", float("nan"))
    with pytest.raises(EngineError, match=r"nan\.onnx: the results are not finite"):
        Upscaler(weights=tmp_path / "nan.onnx").upscale(texture(20, 20))


def test_an_image_gets_the_size_that_is_asked_for() -> None:
    upscaler = Upscaler(2, engine="openvino", tile=64, halo=16)
    image = texture(70, 50)
    result = upscaler.upscale(image, size=TargetSize(factor=1.5))
    assert result.shape == (105, 75, 3)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(upscaler.upscale(image, size=TargetSize(factor=2)), upscaler.upscale(image))
    with pytest.raises(UsageError, match="more than ×2"):
        upscaler.upscale(image, size=TargetSize(factor=2.1))


def resident() -> int:
    return psutil.Process().memory_info().rss


FREED = [("openvino", 200), pytest.param("native", 150, marks=NEEDS_COMPILER)]  # MiB, at least


@pytest.mark.parametrize(("name", "freed"), FREED)
def test_an_engine_gives_its_memory_back(name: EngineName, freed: int) -> None:
    """The tile takes half a GiB, or with native a quarter; it is run by the graph for any size."""
    engine = Upscaler(2, engine=name).engine
    tile = np.zeros((1, 3, 200, 216), np.float32)
    engine(tile)
    busy = resident()
    engine.release()
    assert resident() < busy - freed * 2**20
    engine(tile)
    assert resident() > busy - 100 * 2**20
    engine.rest()
    assert resident() < busy - freed * 2**20


@pytest.mark.parametrize(("engine", "freed"), FREED)
@pytest.mark.parametrize("stopped", [False, True])
def test_nothing_is_held_after_an_image(engine: EngineName, freed: int, stopped: bool) -> None:
    upscaler = Upscaler(2, engine=engine, tile=224, halo=16)
    strips = upscaler.strips(texture(400, 216))  # two tiles
    next(strips)
    busy = resident()
    strips.close() if stopped else list(strips)
    assert resident() < busy - freed * 2**20


def test_an_array_needs_neither_libvips_nor_the_command_line() -> None:
    code = """
import sys, numpy, bgai
bgai.Upscaler(engine="openvino").upscale(numpy.zeros((20, 30, 3), "uint8"))
print({"pyvips", "typer", "rich", "torch", "pydantic"} & set(sys.modules))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measured where the promise was")
@pytest.mark.parametrize(
    ("engine", "gibibytes"),
    [("openvino", 1), ("openvino", 2), pytest.param("native", 1, marks=NEEDS_COMPILER)],
)
def test_the_command_keeps_to_its_memory(engine: str, gibibytes: int, tmp_path: Path) -> None:
    """The whole process at 1920 x 1080."""
    Image.fromarray(texture(1080, 1920)).save(tmp_path / "a.png")
    code = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "bgai", "upscale", *sys.argv[1:]], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png")]
    command += ["--memory", f"{gibibytes}GiB", "--engine", engine]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout.splitlines()[-1]) < gibibytes * 2**20  # KiB
