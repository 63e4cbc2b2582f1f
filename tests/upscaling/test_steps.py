"""Two networks in a row."""

from __future__ import annotations

import numpy as np
from support import texture

from bgai.upscaling.steps import SteppedUpscaler
from bgai.upscaling.upscaler import Upscaler


def test_two_steps_are_one_after_the_other() -> None:
    first, second = Upscaler(2, engine="openvino"), Upscaler(3, engine="openvino")
    both = SteppedUpscaler(first, second)
    image = (texture(20, 28) / np.float32(255)).astype(np.float32)
    assert both.scale == 6
    np.testing.assert_allclose(both.upscale(image), second.upscale(first.upscale(image)), atol=1e-5)


def test_tiles_of_two_steps_agree_with_the_whole() -> None:
    """Away from the border, as those of one network do."""
    second = Upscaler(2, engine="openvino")
    whole = SteppedUpscaler(Upscaler(2, engine="openvino", tile=0), second)
    tile = 2 * whole.halo + 16
    tiled = SteppedUpscaler(Upscaler(2, engine="openvino", tile=tile), second)
    image = texture(tile + 64, 32)
    assert len(tiled.plan(image)[0]) > 1
    within = slice(64 * 4, tile * 4)
    difference = np.abs(whole.upscale(image)[within].astype(int) - tiled.upscale(image)[within])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3
