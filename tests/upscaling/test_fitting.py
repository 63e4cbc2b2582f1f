"""The upscaler that fits each picture: its weights by compression, its scale by the size that is wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support import texture

from bgai.pictures.reading import read_picture
from bgai.upscaling import fitting
from bgai.upscaling.files import upscale_file
from bgai.upscaling.fitting import FittingUpscalers, open_upscalers, used_weights
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.sources import find_weights


def open_upscaler(opened: list[str]) -> FittingUpscalers:
    def open(weights: str) -> Upscaler:
        opened.append(weights)
        return Upscaler(4, weights, "openvino")

    return FittingUpscalers(open)


def run(source: Path, upscaler: Upscaler | FittingUpscalers) -> tuple[str, NDArray[np.uint8]]:
    enlarged = upscale_file(source, source.with_suffix(".large.png"), upscaler=upscaler, overwrite=True)
    return enlarged.weights, np.array(Image.open(enlarged.target))


def test_each_picture_gets_the_weights_that_fit_it(tmp_path: Path, photo_weights: Path) -> None:
    picture = Image.fromarray(texture(20, 24))
    picture.save(tmp_path / "clean.png")
    picture.save(tmp_path / "good.jpg", quality=97)
    picture.save(tmp_path / "bad.jpg", quality=40)
    opened: list[str] = []
    upscalers = open_upscaler(opened)
    assert opened == ["bgai"]
    for name, weights, reason in (
        ("clean.png", "bgai", "lossless PNG"),
        ("bad.jpg", "photo", "JPEG of quality about 40"),
        ("good.jpg", "bgai", "JPEG of quality about 97"),
        ("bad.jpg", "photo", "JPEG of quality about 40"),
    ):
        said, pixels = run(tmp_path / name, upscalers)
        assert said == f"{weights} weights: {reason}"
        np.testing.assert_array_equal(pixels, run(tmp_path / name, Upscaler(4, weights, "openvino"))[1])
    assert opened == ["bgai", "photo"]


def test_a_jpeg_that_was_saved_well_since_is_known(tmp_path: Path, photo_weights: Path) -> None:
    upscalers = open_upscaler([])
    for quality, cut, name, expected in (
        (60, (3, 5), "a.png", "photo weights: PNG, once a JPEG of quality about 60"),
        (95, (3, 5), "a.png", "bgai weights: lossless PNG"),
        (60, (0, 0), "a.jpg", "photo weights: JPEG, once a JPEG of quality about 60"),
        (97, (0, 0), "a.jpg", "bgai weights: JPEG of quality about 98"),
    ):
        Image.fromarray(texture(128, 128)).save(tmp_path / "before.jpg", quality=quality)
        Image.open(tmp_path / "before.jpg").crop((*cut, 128, 128)).save(tmp_path / name, quality=98)
        assert upscalers.pick(tmp_path / name, read_picture(tmp_path / name))[1] == expected


def test_the_engine_that_waits_holds_no_graphs(tmp_path: Path, photo_weights: Path) -> None:
    Image.fromarray(texture(20, 24)).save(tmp_path / "a.jpg", quality=40)
    Image.fromarray(texture(20, 24)).save(tmp_path / "b.png")
    picture = read_picture(tmp_path / "b.png")
    upscalers = open_upscaler([])
    for name in ("bgai", "photo", "bgai"):
        picked, _ = upscalers.pick(tmp_path / ("a.jpg" if name == "photo" else "b.png"), picture)
        assert picked is upscalers._ready[name]
        picked.upscale(picture.pixels)
        working = [kind for kind, upscaler in upscalers._ready.items() if upscaler.engine._requests]  # type: ignore[attr-defined]
        assert working == [name]


def test_without_photo_weights_there_is_nothing_to_choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "shipped_scales", lambda _: ())
    Image.fromarray(texture(20, 24)).save(tmp_path / "a.jpg", quality=40)
    said, pixels = run(tmp_path / "a.jpg", open_upscaler([]))
    assert said == ""
    np.testing.assert_array_equal(pixels, run(tmp_path / "a.jpg", Upscaler(4, "bgai", "openvino"))[1])


def test_a_second_step_is_for_clean_pictures(photo_weights: Path, tmp_path: Path) -> None:
    """What compression left, the first one took out."""
    opened: list[tuple[object, ...]] = []

    def open(*how: object) -> Upscaler:
        opened.append(how)
        return Upscaler(4, how[1], "openvino")  # type: ignore[arg-type]

    Image.fromarray(texture(20, 24)).save(tmp_path / "a.jpg", quality=40)
    upscalers = open_upscalers(open, None, sized=True)
    picked, words = upscalers.at(16).pick(tmp_path / "a.jpg", read_picture(tmp_path / "a.jpg"))  # type: ignore[union-attr]
    assert words == "photo weights: JPEG of quality about 40"
    assert picked.scale == 16
    assert [how[1] for how in opened] == ["bgai", "bgai", "photo", "bgai"]
    assert upscalers.at(16) is upscalers.at(16)  # type: ignore[union-attr]


def test_weights_of_a_recipe_differ_by_scale_and_step() -> None:
    upscalers = open_upscalers(lambda *how: Upscaler(how[0], how[1], "openvino"), None, "bgai", sized=True)
    assert upscalers.scale is None
    assert len({used_weights(upscalers, scale) for scale in (2, 3, 4, 6, 8)}) == 5
    assert used_weights(upscalers, 2) == used_weights(Upscaler(2, "bgai", "openvino"), 2)


def test_weights_of_a_file_have_a_scale_of_their_own() -> None:
    file = find_weights("bgai", 2).file
    assert open_upscalers(lambda *how: Upscaler(how[0], how[1], "openvino"), None, file, sized=True).scale == 2
