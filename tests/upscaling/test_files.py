"""A picture file in, an enlarged file out."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_support import save_by_vips
from PIL import Image, JpegImagePlugin
from support import texture

from bgai.errors import ImageError, OutputError, UsageError
from bgai.pictures import encoders, reading
from bgai.pictures.reading import read_picture
from bgai.upscaling.files import EnlargedFile, upscale_file
from bgai.upscaling.recipe import read_recipe
from bgai.upscaling.sizes import TargetSize
from bgai.upscaling.upscaler import Upscaler

if sys.platform != "win32":
    import resource


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


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the process through /proc")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_a_failed_write_frees_the_disk_at_once(
    suffix: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is kept, and with it what its traceback refers to; the garbage collector does not run."""
    limits, save = resource.getrlimit(resource.RLIMIT_FSIZE), encoders._save

    def save_to_a_full_disk(*arguments: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        save(*arguments)

    monkeypatch.setattr(reading, "_MOST_IN_MEMORY", 0)
    monkeypatch.setattr(encoders, "_save", save_to_a_full_disk)
    gc.disable()
    try:
        with pytest.raises(OutputError, match="cannot be written") as error:
            upscale_file(source, tmp_path / f"b{suffix}", upscaler=Upscaler(2, engine="openvino"))
        names = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        names += Path("/proc/self/maps").read_text().splitlines()
        assert [name for name in names if str(tmp_path) in name] == []
    finally:
        gc.enable()
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.__cause__


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


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        (TargetSize(factor=1.5), "2", (24, 18)),
        (TargetSize(width=48), "3", (48, 36)),
        (TargetSize(long_edge=50), "4", (50, 38)),
        (TargetSize(factor=5), "6", (80, 60)),
    ],
)
def test_a_file_gets_the_size_that_is_asked_for(
    size: TargetSize, scale: str, expected: tuple[int, int], source: Path, tmp_path: Path
) -> None:
    target = upscale_file(source, tmp_path / "b.png", size=size).target
    assert Image.open(target).size == expected
    recipe = read_recipe(target)
    assert recipe is not None
    assert recipe.scale == scale
    assert recipe.size == ("" if expected == (48, 36) else f"{expected[0]}x{expected[1]}")
    # The same picture, in its place: not shifted, not another.
    large = np.array(Image.open(target)).astype(float)
    plain = np.array(Image.fromarray(texture(12, 16)).resize(expected, Image.Resampling.BICUBIC)).astype(float)
    assert np.corrcoef(large.ravel(), plain.ravel())[0, 1] > 0.97


def test_a_size_of_one_open_upscaler(source: Path, tmp_path: Path) -> None:
    upscaler = Upscaler(3, engine="openvino")
    size = TargetSize(factor=2.25)
    target = upscale_file(source, tmp_path / "b.png", size=size, upscaler=upscaler).target
    np.testing.assert_array_equal(np.array(Image.open(target)), upscaler.upscale(texture(12, 16), size=size))
    with pytest.raises(ImageError, match=r"a\.png: 16 x 12 to x3.5 is more than ×3: choose a larger scale"):
        upscale_file(source, tmp_path / "c.png", size=TargetSize(factor=3.5), upscaler=upscaler)
    with pytest.raises(ImageError, match=r"a\.png: 16 x 12 is more than the size asked for, w8"):
        upscale_file(source, tmp_path / "c.png", size=TargetSize(width=8))
    with pytest.raises(UsageError, match="leave one of them out"):
        upscale_file(source, tmp_path / "c.png", size=TargetSize(width=20), scale=2)
    assert not (tmp_path / "c.png").exists()


@pytest.mark.parametrize("kind", [(), (2,), (4,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_kinds_of_pixels_keep_theirs_at_any_size(
    kind: tuple[int, ...], dtype: type[np.generic], tmp_path: Path
) -> None:
    whole = np.dstack([texture(12, 16)] * 2).astype(dtype)
    pixels = whole[..., 0] if not kind else whole[..., : kind[0]]
    save_by_vips(np.ascontiguousarray(pixels), tmp_path / "a.png")
    upscale_file(tmp_path / "a.png", tmp_path / "b.png", size=TargetSize(factor=1.5))
    enlarged = read_picture(tmp_path / "b.png").pixels
    assert enlarged.dtype == dtype
    assert enlarged.shape == (18, 24, *kind)
