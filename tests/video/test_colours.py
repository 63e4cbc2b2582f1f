"""Samples of YUV become the colours that the tags say, and come back as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("av")

import av
from support import texture

from bgai.errors import VideoError
from bgai.video.colours import Colours, Converter, choose_colours, is_deep

# Weights of red and blue in the luma, by the number of the matrix (ITU-T H.273, table 4).
LUMA = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
SAMPLES = [(120, 100, 150), (60, 140, 120), (180, 120, 135), (16, 128, 128), (235, 128, 128)]


def flat(format: str, samples: tuple[int, int, int], times: int) -> av.VideoFrame:
    frame = av.VideoFrame(16, 16, format)
    for plane, value in zip(frame.planes, samples, strict=True):
        kind: Any = np.uint8 if times == 1 else "<u2"
        plane.update(np.full(plane.buffer_size // np.dtype(kind).itemsize, value * times, kind).tobytes())
    return frame


def expected(samples: tuple[int, int, int], matrix: int, full: bool) -> NDArray[np.float64]:
    """R'G'B' of H.273's equations 38 to 40, in [0, 1], of samples of 8 bits."""
    red, blue = LUMA[matrix]
    y, cb, cr = samples
    if full:
        luma, b, r = y / 255, (cb - 128) / 255, (cr - 128) / 255
    else:
        luma, b, r = (y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    r, b = luma + 2 * (1 - red) * r, luma + 2 * (1 - blue) * b
    return np.clip([r, (luma - red * r - blue * b) / (1 - red - blue), b], 0, 1)


@pytest.mark.parametrize("matrix", LUMA)
@pytest.mark.parametrize("range", [1, 2])
@pytest.mark.parametrize("format", ["yuv420p", "yuv444p"])
def test_every_matrix_and_range_is_that_of_the_standard(matrix: int, range: int, format: str) -> None:
    colours = Colours(range, 2, 2, matrix)
    converter = Converter(colours, colours, False)
    for samples in SAMPLES:
        pixels = converter.to_rgb(flat(format, samples, 1))
        assert abs(pixels[8, 8] - 255 * expected(samples, matrix, range == 2)).max() < 0.6
        back = converter.from_rgb(pixels, format)
        assert [bytes(plane)[0] for plane in back.planes] == pytest.approx(samples, abs=1)
        assert (back.colorspace, back.color_range) == (matrix, range)


def test_ten_bits_are_converted_with_sixteen() -> None:
    colours = Colours(1, 9, 16, 9)
    converter = Converter(colours, colours, True)
    for samples in SAMPLES:
        pixels = converter.to_rgb(flat("yuv420p10le", samples, 4))
        assert pixels.dtype == np.uint16
        assert abs(pixels[8, 8] / 257 - 255 * expected(samples, 9, False)).max() < 1.01
        back = converter.from_rgb(pixels, "yuv420p10le")
        firsts = [int(np.frombuffer(bytes(plane), "<u2")[0]) for plane in back.planes]
        assert firsts == pytest.approx([4 * value for value in samples], abs=1)


def test_colour_does_not_wander_from_its_place() -> None:
    """Chroma has half of the resolution: if it were read and written at different places, edges would shift."""
    colours = Colours(1, 1, 1, 1)
    converter = Converter(colours, colours, False)
    x, y = np.linspace(0, 1, 64)[None, :], np.linspace(0, 1, 48)[:, None]
    ramp = np.stack([0.3 + 0.4 * x + 0 * y, 0.5 + 0 * x + 0 * y, 0.3 + 0 * x + 0.4 * y], -1)
    pixels = np.rint(255 * ramp).astype(np.uint8)
    for _ in range(10):
        pixels = converter.to_rgb(converter.from_rgb(pixels, "yuv420p"))
    assert abs((pixels - 255 * ramp)[4:-4, 4:-4]).mean() < 1


def test_red_green_and_blue_stay_what_they_are() -> None:
    colours = choose_colours((0, 2, 2, 0), (24, 32), "gbrp")
    converter = Converter(colours, colours, False)
    pixels = texture(24, 32)
    assert np.array_equal(converter.to_rgb(converter.from_rgb(pixels, "gbrp")), pixels)


def test_a_matrix_that_is_not_named_is_the_one_that_players_guess() -> None:
    assert choose_colours((0, 2, 2, 2), (480, 640), "yuv420p") == Colours(1, 2, 2, 6)
    assert choose_colours((0, 2, 2, 2), (720, 1280), "yuv420p") == Colours(1, 2, 2, 1)
    assert choose_colours((2, 9, 16, 9), (480, 640), "yuv420p") == Colours(2, 9, 16, 9)
    assert choose_colours((0, 2, 2, 2), (480, 640), "yuvj420p").range == 2
    assert choose_colours((1, 77, 3, 1), (480, 640), "yuv420p") == Colours(1, 2, 2, 1)
    with pytest.raises(VideoError, match="matrix 14"):
        choose_colours((1, 9, 16, 14), (480, 640), "yuv420p10le")


def test_deep_is_more_than_eight_bits() -> None:
    assert [is_deep(format) for format in ("yuv420p", "yuv420p10le", "rgb24", "gbrp12le", "nv12", "p010le")] == [
        False,
        True,
        False,
        True,
        False,
        True,
    ]
