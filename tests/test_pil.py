"""Pillow's images in and out."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms
from support import texture

import bgai.pil
from bgai.errors import UsageError
from bgai.upscaling.sizes import TargetSize
from bgai.upscaling.upscaler import Upscaler


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return Upscaler(scale=2)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
def test_modes_of_eight_bits_give_what_arrays_do(upscaler: Upscaler, mode: str, channels: int) -> None:
    pixels = texture(12, 17, channels).squeeze()
    enlarged = bgai.pil.upscale(Image.fromarray(pixels, mode), upscaler=upscaler)
    assert (enlarged.mode, enlarged.size) == (mode, (34, 24))
    np.testing.assert_array_equal(np.asarray(enlarged), upscaler.upscale(pixels))


@pytest.mark.parametrize(("mode", "result"), [("I;16", "I;16"), ("I;16B", "I;16"), ("I", "I")])
def test_sixteen_bits_stay(upscaler: Upscaler, mode: str, result: str) -> None:
    pixels = texture(12, 17, 1)[..., 0].astype(np.uint16) * 257 + 1
    if mode == "I;16B":
        image = Image.frombytes(mode, (17, 12), pixels.astype(">u2").tobytes())
    else:
        image = Image.fromarray(pixels if mode == "I;16" else pixels.astype(np.int32))
    enlarged = bgai.pil.upscale(image, upscaler=upscaler)
    assert enlarged.mode == result
    np.testing.assert_array_equal(np.asarray(enlarged), upscaler.upscale(pixels))


def test_floating_point_stays(upscaler: Upscaler) -> None:
    pixels = texture(12, 17, 1)[..., 0].astype(np.float32) / np.float32(255)
    enlarged = bgai.pil.upscale(Image.fromarray(pixels), upscaler=upscaler)
    assert enlarged.mode == "F"
    np.testing.assert_array_equal(np.asarray(enlarged), upscaler.upscale(pixels))


@pytest.mark.parametrize(
    ("mode", "result"),
    [
        ("1", "L"),
        ("P", "RGB"),
        ("PA", "RGBA"),
        ("La", "LA"),
        ("RGBa", "RGBA"),
        ("RGBX", "RGB"),
        ("CMYK", "RGB"),
        ("YCbCr", "RGB"),
        ("LAB", "RGB"),
        ("HSV", "RGB"),
    ],
)
def test_other_modes_are_converted(upscaler: Upscaler, mode: str, result: str) -> None:
    image = Image.new(mode, (5, 4))
    enlarged = bgai.pil.upscale(image, upscaler=upscaler)
    assert (enlarged.mode, enlarged.size) == (result, (10, 8))
    expected = upscaler.upscale(np.asarray(image.convert(result)))
    np.testing.assert_array_equal(np.asarray(enlarged), expected)


def test_a_transparent_colour_of_a_palette_becomes_alpha(upscaler: Upscaler) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 4, 8))
    image.info["transparency"] = 0
    enlarged = bgai.pil.upscale(image, upscaler=upscaler)
    assert enlarged.mode == "RGBA"
    assert enlarged.getpixel((0, 0)) == (0, 0, 0, 0)
    assert enlarged.getpixel((15, 15)) == (0, 0, 255, 255)
    assert "transparency" not in enlarged.info


def test_a_transparent_grey_becomes_alpha(upscaler: Upscaler) -> None:
    image = Image.new("L", (8, 8), 7)
    image.info["transparency"] = 7
    enlarged = bgai.pil.upscale(image, upscaler=upscaler)
    assert enlarged.mode == "LA"
    assert np.asarray(enlarged).max() == 0


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def lab_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def test_what_is_known_of_a_picture_stays(upscaler: Upscaler) -> None:
    exif = Image.Exif()
    exif[274] = 6
    file = io.BytesIO()
    Image.new("RGB", (6, 4)).save(file, "jpeg", dpi=(300, 300), exif=exif, icc_profile=srgb_profile())
    image = Image.open(file)
    enlarged = bgai.pil.upscale(image, upscaler=upscaler)
    assert enlarged.size == (12, 8)  # as it lies in the file, which its orientation describes
    assert enlarged.getexif()[274] == 6
    assert enlarged.info["dpi"] == (300, 300)
    assert enlarged.info["icc_profile"] == srgb_profile()


def test_a_profile_of_other_colours_is_applied_and_left_out(upscaler: Upscaler) -> None:
    image = Image.new("LAB", (4, 4), (128, 190, 128))
    image.info["icc_profile"] = lab_profile()
    enlarged = bgai.pil.upscale(image, upscaler=upscaler)
    red, green, blue = np.asarray(enlarged)[0, 0]
    assert red > 180 > max(green, blue)
    assert "icc_profile" not in enlarged.info


def test_a_profile_that_does_not_fit_is_not_used(upscaler: Upscaler) -> None:
    image = Image.new("CMYK", (4, 4), (0, 255, 255, 0))
    image.info["icc_profile"] = srgb_profile()
    enlarged = bgai.pil.upscale(image, upscaler=upscaler)
    assert enlarged.getpixel((0, 0)) == image.convert("RGB").getpixel((0, 0))
    assert "icc_profile" not in enlarged.info


def test_the_given_image_is_left_alone(upscaler: Upscaler) -> None:
    image = Image.new("P", (4, 4))
    image.info["transparency"] = 0
    bgai.pil.upscale(image, upscaler=upscaler)
    assert image.info == {"transparency": 0}
    assert (image.mode, image.size) == ("P", (4, 4))


def test_size_scale_and_progress() -> None:
    calls: list[tuple[int, int]] = []
    image = Image.new("RGB", (20, 10))
    enlarged = bgai.pil.upscale(image, 3, size=TargetSize(width=50), progress=lambda *done: calls.append(done))
    assert enlarged.size == (50, 25)
    assert calls[-1] == (60 * 30, 60 * 30)
    assert bgai.pil.upscale(image).size == (80, 40)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(np.array([[70000]], np.int32)), "from 70000 to 70000: expected 0 to 65535"),
        (Image.fromarray(np.array([[-1]], np.int32)), "from -1 to -1: expected 0 to 65535"),
        (Image.fromarray(np.array([[2]], np.float32)), r"expected values in \[0, 1\]"),
        (Image.new("RGB", (0, 4)), "none of them 0"),
    ],
)
def test_values_out_of_range_are_refused(upscaler: Upscaler, image: Image.Image, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bgai.pil.upscale(image, upscaler=upscaler)


def test_a_transparent_value_of_sixteen_bits_is_refused(upscaler: Upscaler) -> None:
    image = Image.fromarray(np.zeros((4, 4), np.uint16))
    image.info["transparency"] = 3
    with pytest.raises(UsageError, match=r"use bgai\.upscale_file"):
        bgai.pil.upscale(image, upscaler=upscaler)


def test_a_scale_and_an_upscaler_are_one_too_many(upscaler: Upscaler) -> None:
    with pytest.raises(UsageError, match="leave one of both out"):
        bgai.pil.upscale(Image.new("RGB", (4, 4)), 2, upscaler=upscaler)
