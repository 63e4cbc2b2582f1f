"""One image made in strips, by processes of a cluster that are all this one, in reverse order."""

from __future__ import annotations

import pickle
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support import texture

from bgai.cluster import enlarging, strips
from bgai.cluster.enlarging import Opening, enlarge_on_cluster
from bgai.cluster.picture import enlarge_picture
from bgai.cluster.pool import Pool
from bgai.cluster.strips import SpreadUpscaler
from bgai.errors import EngineError
from bgai.upscaling.batch import OutputSettings, name_outputs
from bgai.upscaling.sizes import TargetSize
from bgai.upscaling.upscaler import Upscaler

_open = partial(Upscaler, 2, tile=176)  # halos of 64: 48 rows or columns of each tile are kept


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The strips that were made."""
    numbers: list[int] = []

    def run(items: Sequence[int], work: Any, pool: Pool) -> Generator[tuple[int, Any], None, None]:
        make = pickle.loads(pickle.dumps(work)).open()
        for number in reversed(items):
            numbers.append(number)
            yield number, make(number)

    monkeypatch.setattr(strips, "run_on_cluster", run)
    return numbers


def sixteen_bits(image: NDArray[np.uint8]) -> NDArray[np.uint16]:
    return image.astype(np.uint16) * 257


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", [np.asarray, sixteen_bits])
def test_strips_are_those_of_one_process(made: list[int], tmp_path: Path, channels: int, kind: Any) -> None:
    image = kind(texture(300, 200, channels))
    if channels == 1:
        image = image[..., 0]
    expected = list(_open().strips(image, keep_clear_colours=True))
    done: list[tuple[int, int]] = []
    upscaler = SpreadUpscaler(_open, 0, tmp_path, Pool())
    found = list(upscaler.strips(image, lambda *pixels: done.append(pixels), keep_clear_colours=True))
    assert len(expected) == len(found) > 2
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert made == list(reversed(range(len(expected))))
    assert done[-1] == (600 * 400, 600 * 400)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_strips_that_nobody_takes(made: list[int], tmp_path: Path) -> None:
    running = SpreadUpscaler(_open, 0, tmp_path, Pool()).strips(texture(300, 200))
    next(running)
    running.close()
    assert made
    assert list(tmp_path.iterdir()) == []


def test_a_strip_that_ends_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> Generator[tuple[int, Any], None, None]:
        yield 1, EngineError("its process ended each time")

    monkeypatch.setattr(strips, "run_on_cluster", run)
    with pytest.raises(EngineError, match=r"strip 2 cannot be made: its process ended each time"):
        list(SpreadUpscaler(_open, 0, tmp_path, Pool()).strips(texture(300, 200)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("opening", "size"),
    [
        (Opening(2, tile=176), None),
        (Opening(2, "bgai", tile=176), None),
        (Opening(weights="bgai", tile=176, sized=True), TargetSize(factor=5)),
    ],
)
def test_a_large_picture_is_that_of_one_machine(
    made: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opening: Opening, size: TargetSize | None
) -> None:
    """Which one is finished afterwards, whatever made it."""
    monkeypatch.setattr(enlarging, "check_cluster", lambda pool: None)
    monkeypatch.setattr(enlarging, "LARGE_PIXELS", 10_000)
    Image.fromarray(texture(300, 60)).save(tmp_path / "a.jpg", quality=50)
    outputs = []
    for name in ("alone", "spread"):
        settings = OutputSettings(tmp_path / name, size=size)
        pictures, _ = name_outputs([tmp_path / "a.jpg"], opening.find_scale(), settings)
        if name == "alone":
            outcome = enlarge_picture(pictures[0], opening.open(), settings)
        else:
            (outcome,) = enlarge_on_cluster(pictures, opening, settings, Pool())
            assert made
            assert enlarge_picture(pictures[0], opening.open(), settings).state == "finished"
        assert outcome.state == "enlarged", outcome
        outputs.append((outcome.weights, Path(outcome.target).read_bytes()))
    assert outputs[0] == outputs[1]
