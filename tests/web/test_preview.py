"""Finished rows of a result, while the rest of it is computed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike
from PIL import Image
from support import texture
from web_support import picture

from bgai.web.enlarging import Enlarger
from bgai.web.job import JobOptions
from bgai.web.preview import MOST_PIXELS, Preview, WatchedUpscaler


def shown(preview: Preview) -> np.ndarray[Any, np.dtype[np.uint8]]:
    content = preview.png()
    assert content
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_rows_come_strip_by_strip(channels: int) -> None:
    pixels = texture(50, 40, channels)
    pixels = pixels[..., 0] if channels == 1 else pixels
    preview = Preview((50, 40))
    assert preview.png() is None
    for start in (0, 13, 26):
        preview.add(pixels[start : start + 13])
        assert np.array_equal(shown(preview), pixels[: start + 13])
    assert preview.share() == 39 / 50


@pytest.mark.parametrize(("kind", "most"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_all_kinds_are_shown_in_8_bits(kind: DTypeLike, most: float) -> None:
    preview = Preview((4, 6))
    preview.add(np.full((4, 6, 3), most, kind))
    assert np.array_equal(shown(preview), np.full((4, 6, 3), 255))


def test_large_results_are_thinned_out_evenly() -> None:
    height, width = 5001, 3000
    rows = (np.arange(height) // 100).astype(np.uint8)[:, None].repeat(width, 1)
    preview = Preview((height, width))
    for start in range(0, height, 333):
        preview.add(rows[start : start + 333])
    pixels = shown(preview)
    assert pixels.size <= MOST_PIXELS
    assert np.array_equal(pixels, rows[::2, ::2])
    assert preview.share() == 1


def test_an_upscaler_tells_of_its_rows() -> None:
    upscaler = WatchedUpscaler(2, tile=112)
    seen: list[Any] = []
    upscaler.watch = lambda strip: seen.append(strip.copy())
    result = upscaler.upscale(texture(140, 20))
    assert len(seen) > 1
    assert np.array_equal(np.concatenate(seen), result)


def test_the_service_keeps_the_rows_of_the_job_in_work(tmp_path: Path) -> None:
    (tmp_path / "source.png").write_bytes(picture())
    preview = Preview((20, 24))
    result, _ = Enlarger(50)(tmp_path / "source.png", JobOptions(scale=2), preview, lambda done, total: None)
    assert np.array_equal(shown(preview), np.asarray(Image.open(result)))
