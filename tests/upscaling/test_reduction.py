"""Reducing an image that comes in strips."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import texture

from bgai.datasets.matlab_resize import imresize, weigh
from bgai.types import Size
from bgai.upscaling import reduction
from bgai.upscaling.reduction import reduce_strips


def cut(image: NDArray[Any], rows: int) -> Iterator[NDArray[Any]]:
    for start in range(0, len(image), rows):
        yield image[start : start + rows]


def reduced(image: NDArray[Any], target: Size, rows: int = 7) -> NDArray[Any]:
    return np.concatenate(list(reduce_strips(cut(image, rows), (image.shape[0], image.shape[1]), target)))


@pytest.mark.parametrize("rows", [1, 7, 100])
@pytest.mark.parametrize("samples", [40, 2**18])
def test_strips_give_what_the_whole_gives(rows: int, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However they are cut."""
    monkeypatch.setattr(reduction, "_BLOCK_SAMPLES", samples)
    image = (texture(60, 48) / np.float32(255)).astype(np.float32)
    expected = imresize(image, 0.75).clip(0, 1)
    result = reduced(image, (45, 36), rows)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("target", [(1, 1), (31, 47), (60, 30), (59, 48), (60, 48)])
def test_any_smaller_size(target: Size) -> None:
    for channels in (None, 2, 3, 4):
        image = texture(60, 48)[..., 0] if channels is None else np.dstack([texture(60, 48)] * 2)[..., :channels]
        assert reduced(image, target).shape == (*target, *image.shape[2:])


def test_where_things_lie_stays() -> None:
    """A ramp is reduced to a ramp of the same pixels: sample i covers (i + 0.5) * 90 / 64 - 0.5."""
    ramp = np.broadcast_to(np.linspace(0, 1, 90, dtype=np.float32)[:, None], (90, 20))
    for image, axis in ((ramp, 0), (ramp.T, 1)):
        target = (64, 20) if axis == 0 else (20, 64)
        middle = np.take(np.moveaxis(reduced(image, target), axis, 0), 5, 1)[8:-8]
        expected = (((np.arange(64) + 0.5) * 90 / 64) - 0.5)[8:-8] / 89
        np.testing.assert_allclose(middle, expected, atol=5e-4)  # a shift of half a pixel would be 5e-3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_flat_stays_flat_and_grey_grey(dtype: type[np.uint8 | np.uint16]) -> None:
    image = np.full((30, 40, 3), 77, dtype)
    assert (reduced(image, (21, 28)) == 77).all()
    image[:15] = np.iinfo(dtype).max
    result = reduced(image, (21, 28))
    assert result.dtype == dtype
    assert (result == result[..., :1]).all()


def test_hidden_colours_do_not_bleed() -> None:
    """Clear pixels are red, opaque ones green: nothing visible gets any red."""
    image = np.zeros((30, 40, 4), np.uint8)
    image[:, :17, 0] = 255
    image[:, 17:, 1:] = (200, 0, 255)
    result = reduced(image, (21, 28))
    assert (result[..., 0] == 0).all()
    assert (result[result[..., 3] > 0][:, 1] == 200).all()
    assert (result[:, :11, 3] == 0).all()
    assert (result[:, 14:, 3] == 255).all()


def test_few_rows_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction, "_BLOCK_SAMPLES", 1000)
    sizes: list[int] = []

    def note(rows: NDArray[Any], *how: NDArray[Any]) -> NDArray[Any]:
        sizes.append(rows.size)
        return weigh(rows, *how)

    monkeypatch.setattr(reduction, "weigh", note)
    for _ in reduce_strips(cut(np.zeros((900, 50), np.uint8), 300), (900, 50), (600, 34)):
        pass
    assert max(sizes) < 2000


def test_a_strip_is_let_go_before_the_next_one() -> None:
    """They can be as large as the memory allows."""
    made: list[weakref.ref[NDArray[Any]]] = []
    alive: list[bool] = []

    def strips() -> Iterator[NDArray[Any]]:
        for _ in range(4):
            alive.append(any(each() is not None for each in made))
            strip = np.zeros((30, 50, 3), np.uint8)
            made.append(weakref.ref(strip))
            yield strip
            del strip

    for _ in reduce_strips(strips(), (120, 50), (80, 34)):
        pass
    assert alive == [False] * 4
