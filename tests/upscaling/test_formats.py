"""A folder with one picture of every kind: each comes out right, or is refused for the true reason."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from picture_support import png_with, save_by_vips, write_tiff
from PIL import Image

from bgai.pictures.reading import read_contents, read_picture
from bgai.upscaling.batch import OutputSettings, plan_jobs, run_job
from bgai.upscaling.files import upscale_file
from bgai.upscaling.fitting import used_weights
from bgai.upscaling.pixels import has_alpha
from bgai.upscaling.recipe import read_recipe
from bgai.upscaling.upscaler import Upscaler

COLOURS = ((200, 40, 60), (30, 180, 90), (20, 60, 220), (240, 240, 230))
"""Of the quadrants of each picture, 32 x 24 pixels."""


def quadrants() -> NDArray[np.uint8]:
    pixels = np.empty((24, 32, 3), np.uint8)
    pixels[:12, :16], pixels[:12, 16:], pixels[12:, :16], pixels[12:, 16:] = COLOURS
    return pixels


def grey() -> NDArray[np.uint8]:
    luma: NDArray[np.float64] = np.rint(quadrants() @ np.array((0.299, 0.587, 0.114)))
    return luma.astype(np.uint8)


def with_alpha(least: int = 255) -> NDArray[np.uint8]:
    alpha = np.full((24, 32, 1), 255, np.uint8)
    alpha[12:, 16:] = least
    return np.concatenate((quadrants(), alpha), axis=2)


def saved(image: Image.Image, **options: Any) -> Callable[[Path], object]:
    return lambda path: image.save(path, **options)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(quadrants())).save(path, exif=exif, quality=95)


def thumbnail_behind(path: Path) -> None:
    small = Image.fromarray(quadrants()[::2, ::2])
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(quadrants()).save(path, save_all=True, append_images=[small])


def ultra_hdr(path: Path) -> None:
    linear = pyvips.Image.new_from_array(quadrants()).copy(interpretation="srgb").colourspace("scrgb")
    linear.uhdrsave(str(path), Q=95)


def png(path: Path) -> Path:
    RGB.save(path)
    return path


def with_text(path: Path) -> None:
    Image.fromarray(quadrants()).save(path)
    png_with(path, (b"tEXt", b"parameters\0a cat"), base=path)


def floating(path: Path) -> None:
    pyvips.Image.new_from_array(quadrants().astype(np.float32) / 255).copy(interpretation="scrgb").tiffsave(str(path))


def cut(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])


def frames(path: Path) -> None:
    """A picture and what moves after it."""
    options: dict[str, Any] = {".webp": {"lossless": True}}.get(path.suffix, {})
    first = PALETTE if path.suffix == ".gif" else RGB
    first.save(path, save_all=True, append_images=[first.rotate(180)], duration=70, **options)


def apng(path: Path) -> None:
    frames(path.with_suffix(".png"))
    path.with_suffix(".png").rename(path)


def tiff(**options: Any) -> Callable[[Path], object]:
    return lambda path: save_by_vips(quadrants(), path, **options)


def cmyk(path: Path) -> None:
    """Of the quadrants, as libvips' own profile has them."""
    image = pyvips.Image.new_from_array(quadrants()).copy(interpretation="srgb")
    image.icc_export(output_profile="cmyk", intent="relative").write_to_file(str(path))


def lab(path: Path) -> None:
    image = pyvips.Image.new_from_array(quadrants()).copy(interpretation="srgb")
    image.colourspace("labs").write_to_file(str(path))


def two_in_one(path: Path) -> None:
    """Two pictures in one file, as cameras write them (CIPA DC-007)."""
    RGB.save(path, "MPO", quality=95, subsampling=0, append_images=[RGB.rotate(180)], save_all=True)


RGB, PALETTE = Image.fromarray(quadrants()), Image.fromarray(quadrants()).quantize(8)
BIT = Image.fromarray(grey() > 127)
KINDS: dict[str, Callable[[Path], object]] = {
    "rgb.png": saved(RGB),
    "rgb16.png": lambda path: save_by_vips(quadrants().astype(np.uint16) * 257, path),
    "rgba.png": saved(Image.fromarray(with_alpha())),
    "clear-colour.png": saved(RGB, transparency=(1, 2, 3)),
    "palette-alpha.png": saved(PALETTE, transparency=bytes((255,))),
    "rgba16.png": lambda path: save_by_vips(with_alpha().astype(np.uint16) * 257, path),
    "gamma.png": lambda path: png_with(path, (b"gAMA", (45455).to_bytes(4, "big")), base=png(path)),
    "moving.png": frames,
    "other.apng": apng,
    "interlaced.png": lambda path: save_by_vips(quadrants(), path, interlace=True),
    "palette.png": saved(PALETTE),
    "texts.png": with_text,
    "named.png": saved(RGB, format="jpeg", quality=95, subsampling=0),
    "rgb.jpg": saved(RGB, quality=95, subsampling=0),
    "progressive.jpg": saved(RGB, quality=95, subsampling=0, progressive=True),
    "subsampled.jpg": saved(RGB, quality=95, subsampling=2),
    "restarts.jpg": saved(RGB, quality=95, subsampling=0, optimize=True, restart_marker_blocks=2),
    "cmyk.jpg": cmyk,
    "two.jpg": two_in_one,
    "turned.jpg": turned,
    "hdr.jpg": ultra_hdr,
    "rgb.jpeg": saved(RGB, quality=95, subsampling=0),
    "rgb.jpe": saved(RGB, format="jpeg", quality=95, subsampling=0),
    "rgb.jfif": saved(RGB, quality=95, subsampling=0),
    "lossy.webp": saved(RGB, quality=100),
    "lossless.webp": saved(RGB, lossless=True),
    "alpha.webp": saved(Image.fromarray(with_alpha()), lossless=True),
    "moving.webp": frames,
    "rgb.tif": saved(RGB),
    "pages.tif": saved(RGB, save_all=True, append_images=[RGB.rotate(180)]),
    "palette.tif": saved(PALETTE),
    "packbits.tif": tiff(compression="packbits"),
    "zip.tif": tiff(compression="deflate", predictor="horizontal"),
    "big.tif": tiff(bigtiff=True),
    "pyramid.tif": tiff(pyramid=True, tile=True, tile_width=16, tile_height=16),
    "cmyk.tif": cmyk,
    "lab.tif": lab,
    "rgba.tif": saved(Image.fromarray(with_alpha())),
    "lzw.tiff": saved(RGB, compression="tiff_lzw"),
    "jpeg.tif": lambda path: save_by_vips(quadrants(), path, compression="jpeg", Q=95),
    "tiled.tif": lambda path: save_by_vips(quadrants(), path, tile=True, tile_width=16, tile_height=16),
    "rgb16.tif": lambda path: write_tiff(path, quadrants().astype(np.uint16) * 257),
    "float.tif": floating,
    "thumbnail.tif": thumbnail_behind,
    "rgb.avif": saved(RGB, quality=95, subsampling="4:4:4"),
    "rgba.avif": saved(Image.fromarray(with_alpha()), quality=95, subsampling="4:4:4"),
    "rgb.gif": saved(PALETTE),
    "moving.gif": frames,
    "rgb.bmp": saved(RGB),
    "rgb.dib": saved(RGB, format="bmp"),
    "palette.bmp": saved(PALETTE),
}
GREYS: dict[str, Callable[[Path], object]] = {
    "grey.png": saved(Image.fromarray(grey())),
    "grey16.png": lambda path: save_by_vips(grey().astype(np.uint16) * 257, path),
    "grey-as-rgb.png": saved(Image.fromarray(grey()).convert("RGB")),
    "grey-alpha.png": saved(Image.fromarray(grey()).convert("LA")),
    "grey4.png": lambda path: save_by_vips(np.rint(grey() / 17).astype(np.uint8) * 17, path, bitdepth=4),
    "grey16.tif": lambda path: write_tiff(path, grey().astype(np.uint16) * 257),
    "grey-alpha16.png": lambda path: save_by_vips(
        np.dstack((grey(), np.full_like(grey(), 255))).astype(np.uint16) * 257, path
    ),
    "grey.jpg": saved(Image.fromarray(grey()), quality=95),
    "grey.bmp": saved(Image.fromarray(grey())),
    "min-is-white.tif": lambda path: write_tiff(path, 255 - grey(), photometric=0),
}
BILEVEL: dict[str, Callable[[Path], object]] = {
    "bit.png": saved(BIT),
    "bit.tif": saved(BIT),
    "fax.tif": saved(BIT, compression="group4"),
    "bit.bmp": saved(BIT),
    "bit.gif": saved(BIT),
}
ENCODERS_CHOICE = ("hdr.jpg", "cmyk.jpg", "cmyk.tif")
"""Whose encoder chooses the colours."""
SEVERAL = {"moving.png": 2, "other.apng": 2, "moving.webp": 2, "moving.gif": 2, "pages.tif": 2}
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "text.png": (lambda path: path.write_text("hello"), "not a picture of a kind that is read"),
    "empty.png": (lambda path: path.touch(), "the file is empty"),
    "cut.jpg": (cut, "damaged or cut short"),
    "double.tif": (lambda path: write_tiff(path, np.zeros((9, 9))), "64 bits a sample"),
    "signed.tif": (lambda path: write_tiff(path, np.zeros((9, 9), np.int16)), "samples of 16 bits, signed"),
    "long.tif": (lambda path: write_tiff(path, np.zeros((9, 9), np.uint32)), "samples of 32 bits, unsigned"),
    "raw10.tif": (lambda path: write_tiff(path, np.zeros((8, 10), np.uint8), bits=10), "10 bits a sample"),
    "raw12.tif": (lambda path: write_tiff(path, np.zeros((8, 12), np.uint8), bits=12), "12 bits a sample"),
    "raw14.tif": (lambda path: write_tiff(path, np.zeros((8, 14), np.uint8), bits=14), "14 bits a sample"),
    "lab8.tif": (
        lambda path: write_tiff(path, np.zeros((8, 8, 3), np.uint8), photometric=8),
        "a TIFF in CIE L*a*b* of 8 bits",
    ),
    "drawing.png": (
        lambda path: path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>"),
        "not a picture of a kind",
    ),
    "own.png": (
        lambda path: (
            pyvips.Image.black(9, 9).write_to_file(f"{path}.v") or path.with_name(f"{path.name}.v").rename(path)
        ),
        "not a picture of a kind",
    ),
    "cut.gif": (cut, "damaged: the file ends early"),
}


def as_rgb8(path: Path) -> NDArray[np.uint8]:
    """By libvips alone."""
    image = pyvips.Image.new_from_file(str(path)).autorot()
    if image.format == "float":
        levels: NDArray[np.float32] = np.rint(image.numpy() * 255)
        return levels.astype(np.uint8)
    rgb: NDArray[np.uint8] = image.colourspace("srgb").numpy()[..., :3]
    return rgb


def test_a_folder_with_one_of_everything(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    assert len(KINDS | GREYS | BILEVEL) >= 50
    for name, make in (KINDS | GREYS | BILEVEL).items():
        make(folder / name)
    for name, (make, _) in REFUSED.items():
        make(folder / name)
    upscaler = Upscaler(2, "bgai", engine="openvino", tile=112)
    results = {}
    for name in (*KINDS, *GREYS, *BILEVEL):  # some have the same stem and would claim one output
        settings = OutputSettings(tmp_path / f"out-{name.replace('.', '-')}")
        plan = plan_jobs([folder / name], 2, settings, weights=lambda scale: used_weights(upscaler, scale))
        assert plan.failures == [], name
        results[name] = run_job(plan.jobs[0], upscaler, settings).target
    for name, target in results.items():
        found = as_rgb8(target)
        assert found.shape == (48, 64, 3), name
        places = ((12, 16), (12, 48), (36, 16), (36, 48))
        luma = 255 * (grey() > 127) if name in BILEVEL else grey()
        expected = COLOURS if name in KINDS else [(luma[y // 2, x // 2],) * 3 for y, x in places]
        if name in ENCODERS_CHOICE:
            expected = [as_rgb8(folder / name)[y // 2, x // 2] for y, x in places]
        for (y, x), colour in zip(places, expected, strict=True):
            middle = found[y - 4 : y + 4, x - 4 : x + 4].mean(axis=(0, 1))
            np.testing.assert_allclose(middle, colour, atol=9 if name == "grey4.png" else 4, err_msg=name)
        if name in (*GREYS, *BILEVEL):
            assert np.ptp(found, axis=2).max() <= 1, name
        before, after = read_picture(folder / name), read_picture(target)
        assert after.pixels.dtype == before.pixels.dtype, name
        assert has_alpha(after.pixels) == has_alpha(before.pixels), name
        if has_alpha(after.pixels):
            assert after.pixels[..., -1].min() == np.iinfo(after.pixels.dtype).max, name
        contents = read_contents(target)
        assert contents.frames * len(contents.pages) == SEVERAL.get(name, 1), name


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    make, words = REFUSED[name]
    make(tmp_path / name)
    upscaler = Upscaler(2, "bgai", engine="openvino")
    plan = plan_jobs(
        [tmp_path / name], 2, OutputSettings(tmp_path / "out"), weights=lambda scale: used_weights(upscaler, scale)
    )
    errors = [*plan.failures]
    for job in plan.jobs:
        with pytest.raises(Exception, match=re.escape(words)) as error:
            run_job(job, upscaler, OutputSettings(tmp_path / "out"))
        errors.append(error.value)  # type: ignore[arg-type]
    assert words in str(errors[0])
    assert not (tmp_path / "out" / name).exists()


def test_options_of_files_reach_them(tmp_path: Path) -> None:
    upscaler = Upscaler(2, "bgai", engine="openvino")
    Image.fromarray(with_alpha(0)).save(tmp_path / "a.png")
    cut(tmp_path / "cut.jpg")
    target = upscale_file(tmp_path / "a.png", tmp_path / "a.jpg", upscaler=upscaler, background="black").target
    assert np.array(Image.open(target))[40, 60].max() < 8
    target = upscale_file(tmp_path / "a.png", tmp_path / "a.webp", upscaler=upscaler, lossless=True).target
    assert b"VP8L" in target.read_bytes()
    Image.fromarray(quadrants()).save(tmp_path / "e.jpg", comment="a secret")
    target = upscale_file(tmp_path / "e.jpg", tmp_path / "b.jpg", upscaler=upscaler, metadata=False).target
    assert b"secret" not in target.read_bytes()
    recipe = read_recipe(target)
    assert recipe is not None
    assert recipe.quality == "95 without metadata"
    done = upscale_file(tmp_path / "cut.jpg", tmp_path / "c.png", upscaler=upscaler, lenient=True)
    assert "cannot be decoded" in done.notes[0]
    encoded = io.BytesIO(upscale_file(tmp_path / "a.png", tmp_path / "d.avif", upscaler=upscaler).target.read_bytes())
    assert Image.open(encoded).size == (64, 48)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_colours_under_clear_pixels(suffix: str, tmp_path: Path) -> None:
    """Black as a rule, kept on request; what is to be seen is the same."""
    upscaler = Upscaler(2, "bgai", engine="openvino")
    Image.fromarray(with_alpha(0)).save(tmp_path / "a.png")
    found = {}
    for keep in (False, True):
        target = tmp_path / f"{keep}{suffix}"
        upscale_file(tmp_path / "a.png", target, upscaler=upscaler, lossless=suffix == ".webp", keep_clear_colours=keep)
        found[keep] = read_picture(target).pixels
        recipe = read_recipe(target)
        assert recipe is not None
        assert recipe.quality.endswith("clear colours") == keep
    assert not found[False][26:, 34:].any()
    np.testing.assert_allclose(found[True][28:44, 36:60, :3].mean(axis=(0, 1)), COLOURS[3], atol=4)
    np.testing.assert_array_equal(found[True][..., 3], found[False][..., 3])
    np.testing.assert_array_equal(found[True][:20, :28], found[False][:20, :28])


def test_clear_colours_of_an_array() -> None:
    image = with_alpha(0)
    upscaler = Upscaler(2, "bgai", engine="openvino")
    enlarged = upscaler.upscale(image, keep_clear_colours=True)
    np.testing.assert_array_equal(enlarged[..., :3], upscaler.upscale(image[..., :3]))
