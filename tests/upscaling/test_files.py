"""A picture file in, an enlarged file out; and the weights that fit each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin
from support import texture

from bgai.errors import ImageError, OutputError, UsageError
from bgai.pictures import reading
from bgai.pictures.reading import read_picture
from bgai.upscaling import files
from bgai.upscaling.files import EnlargedFile, FittingUpscalers, upscale_file
from bgai.upscaling.upscaler import Upscaler


@pytest.fixture
def source(tmp_path: Path) -> Path:
    Image.fromarray(texture(12, 16)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_a_file_is_enlarged_like_its_array(source: Path, tmp_path: Path) -> None:
    upscaler = Upscaler(2, engine="openvino")
    calls: list[tuple[int, int]] = []
    enlarged = upscale_file(
        str(source), tmp_path / "new/b.png", upscaler=upscaler, progress=lambda *call: calls.append(call)
    )
    assert enlarged == EnlargedFile(tmp_path / "new/b.png", "", ())
    np.testing.assert_array_equal(np.array(Image.open(enlarged.target)), upscaler.upscale(texture(12, 16)))
    assert calls[-1] == (24 * 32, 24 * 32)


def test_a_jpeg_has_colours_of_full_size_at_any_quality(source: Path, tmp_path: Path) -> None:
    """libvips would halve them below a quality of 90."""
    upscaler = Upscaler(2, engine="openvino")
    for quality in (30, 89):
        upscale_file(source, tmp_path / f"{quality}.jpg", upscaler=upscaler, quality=quality)
        image = Image.open(tmp_path / f"{quality}.jpg")
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3


def test_weights_are_picked_unless_named(source: Path, tmp_path: Path) -> None:
    assert upscale_file(source, tmp_path / "b.png", scale=3).weights == "bgai weights: lossless PNG"
    assert upscale_file(source, tmp_path / "c.png", weights="bgai").weights == ""
    assert Image.open(tmp_path / "b.png").size == (48, 36)
    assert Image.open(tmp_path / "c.png").size == (64, 48)


def test_nothing_is_overwritten_unasked_and_no_original_at_all(source: Path, tmp_path: Path) -> None:
    upscaler = Upscaler(2, engine="openvino")
    for _ in range(2):
        upscale_file(source, tmp_path / "b.png", upscaler=upscaler, overwrite=True)
    with pytest.raises(OutputError, match="exists already"):
        upscale_file(source, tmp_path / "b.png", upscaler=upscaler)
    (tmp_path / "link.png").symlink_to(source)
    for target in (source, tmp_path / "link.png"):
        with pytest.raises(OutputError, match="would replace its original"):
            upscale_file(source, target, upscaler=upscaler, overwrite=True)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"quality": 0}, UsageError, "quality 0: expected 1 to 100"),
        ({"scale": 5}, UsageError, "scale 5"),
        ({"max_pixels": 100}, ImageError, "more than the limit of 0.0001 megapixels"),
    ],
)
def test_wrong_arguments_are_refused(
    wrong: dict[str, int], error: type[Exception], message: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        upscale_file(source, tmp_path / "b.png", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "b.png").exists()


def test_an_open_upscaler_has_its_own_scale_and_weights(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave out scale, weights and clean"):
        upscale_file(source, tmp_path / "b.png", scale=2, upscaler=Upscaler(2, engine="openvino"))


def test_whatever_goes_wrong_is_an_error_of_the_picture(source: Path, tmp_path: Path) -> None:
    upscaler = Upscaler(2, engine="openvino")
    upscaler.engine.prepare = lambda *_: {}["nothing"]  # type: ignore[method-assign, index]
    with pytest.raises(ImageError, match=r"a\.png: cannot be enlarged: KeyError: 'nothing'") as error:
        upscale_file(source, tmp_path / "b.png", upscaler=upscaler)
    assert isinstance(error.value.__cause__, KeyError)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_pixels_in_a_file_are_given_back_after_each_tile(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(texture(150, 40)).save(source)
    given_back: list[object] = []
    monkeypatch.setattr(reading, "_MOST_IN_MEMORY", 100)
    monkeypatch.setattr(reading, "forget", given_back.append)
    calls: list[int] = []
    upscaler = Upscaler(2, engine="openvino", tile=64, halo=16)
    upscale_file(source, tmp_path / "b.png", upscaler=upscaler, progress=lambda *_: calls.append(len(given_back)))
    assert calls == list(range(1, len(calls) + 1))
    assert len(calls) > 2


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
    fitting = open_upscaler(opened)
    assert opened == ["bgai"]
    for name, weights, reason in (
        ("clean.png", "bgai", "lossless PNG"),
        ("bad.jpg", "photo", "JPEG of quality about 40"),
        ("good.jpg", "bgai", "JPEG of quality about 97"),
        ("bad.jpg", "photo", "JPEG of quality about 40"),
    ):
        said, pixels = run(tmp_path / name, fitting)
        assert said == f"{weights} weights: {reason}"
        np.testing.assert_array_equal(pixels, run(tmp_path / name, Upscaler(4, weights, "openvino"))[1])
    assert opened == ["bgai", "photo"]


def test_a_jpeg_that_was_saved_well_since_is_known(tmp_path: Path, photo_weights: Path) -> None:
    fitting = open_upscaler([])
    for quality, cut, name, expected in (
        (60, (3, 5), "a.png", "photo weights: PNG, once a JPEG of quality about 60"),
        (95, (3, 5), "a.png", "bgai weights: lossless PNG"),
        (60, (0, 0), "a.jpg", "photo weights: JPEG, once a JPEG of quality about 60"),
        (97, (0, 0), "a.jpg", "bgai weights: JPEG of quality about 98"),
    ):
        Image.fromarray(texture(128, 128)).save(tmp_path / "before.jpg", quality=quality)
        Image.open(tmp_path / "before.jpg").crop((*cut, 128, 128)).save(tmp_path / name, quality=98)
        assert fitting.pick(tmp_path / name, read_picture(tmp_path / name))[1] == expected


def test_the_engine_that_waits_holds_no_graphs(tmp_path: Path, photo_weights: Path) -> None:
    Image.fromarray(texture(20, 24)).save(tmp_path / "a.jpg", quality=40)
    Image.fromarray(texture(20, 24)).save(tmp_path / "b.png")
    picture = read_picture(tmp_path / "b.png")
    fitting = open_upscaler([])
    for name in ("bgai", "photo", "bgai"):
        picked, _ = fitting.pick(tmp_path / ("a.jpg" if name == "photo" else "b.png"), picture)
        assert picked is fitting._ready[name]
        picked.upscale(picture.pixels)
        working = [kind for kind, upscaler in fitting._ready.items() if upscaler.engine._requests]  # type: ignore[attr-defined]
        assert working == [name]


def test_without_photo_weights_there_is_nothing_to_choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "shipped_scales", lambda _: ())
    Image.fromarray(texture(20, 24)).save(tmp_path / "a.jpg", quality=40)
    said, pixels = run(tmp_path / "a.jpg", open_upscaler([]))
    assert said == ""
    np.testing.assert_array_equal(pixels, run(tmp_path / "a.jpg", Upscaler(4, "bgai", "openvino"))[1])
