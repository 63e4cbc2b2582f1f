"""How large tiles are, for the memory that there is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from bgai.engines.base import Engine
from bgai.errors import UsageError
from bgai.upscaling import memory_plan
from bgai.upscaling.memory_plan import (
    COMMAND_MEMORY,
    PROCESS_BASE,
    default_memory,
    default_together,
    plan_for_memory,
    read_memory,
)
from bgai.upscaling.upscaler import Upscaler


def area(upscaler: Upscaler, image: np.ndarray) -> int:
    rows, columns = upscaler.plan(image)
    return rows[0].length * columns[0].length


def blank(height: int, width: int, channels: int = 3) -> np.ndarray:
    """An image that takes no memory."""
    return np.broadcast_to(np.uint8(0), (height, width, channels))


def set_free(upscaler: Upscaler, gigabytes: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upscaler.engine, "free_memory", lambda: gigabytes * 2**30)


@pytest.mark.parametrize("memory", [None, COMMAND_MEMORY])
def test_tiles_follow_the_free_memory(memory: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    upscaler = Upscaler(engine="openvino", memory=memory)
    monkeypatch.setattr(memory_plan, "total_memory", lambda: 1000 * 2**30)
    image = blank(5000, 5000)
    areas = []
    for gigabytes in (0.01, 1, 2, 64, 1000):
        set_free(upscaler, gigabytes, monkeypatch)
        areas.append(area(upscaler, image))
    assert areas == sorted(areas)
    assert areas[0] < areas[1] < areas[3] == areas[4]
    if memory:  # however much is free
        assert areas[-1] * upscaler.engine.bytes_per_pixel < memory - PROCESS_BASE
    else:  # large enough that halos cost little, and no larger
        assert 700**2 < areas[-1] <= 1024 * 768


@pytest.mark.parametrize(("machine", "process"), [(0.5, 1), (2, 1), (6, 1), (8, 1.5), (16, 3.5)])
def test_a_process_takes_a_quarter_of_the_machine(
    machine: float, process: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is free does not matter while there is enough: the tiles are those of the last run."""
    monkeypatch.setattr(memory_plan, "total_memory", lambda: int(machine * 2**30))
    upscaler, bounded = (Upscaler(engine="openvino", memory=memory) for memory in (None, int(process * 2**30)))
    image = blank(5000, 5000)
    for free in (2 * process, 20):
        set_free(upscaler, free, monkeypatch)
        set_free(bounded, 64, monkeypatch)
        assert upscaler.plan(image) == bounded.plan(image)
    assert default_memory() == process * 2**30
    assert default_together() == (3 if process > 1 else 1)


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("1GiB", 2**30),
        ("1.5 GiB", 3 * 2**29),
        ("800MiB", 800 * 2**20),
        ("2gb", 2 * 10**9),
        ("2g", 2 * 10**9),
        ("1073741824", 2**30),
        ("1TiB", 2**40),
        ("300000kb", 3 * 10**8),
    ],
)
def test_memory_is_written_with_units(text: str, memory: int) -> None:
    assert read_memory(text) == memory


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "1 gigabyte", "1e9", "1GiB2", "١GiB", "nan"])
def test_other_texts_are_no_memory(text: str) -> None:
    with pytest.raises(UsageError, match="expected bytes, such as 1GiB or 800MiB") as error:
        read_memory(text)
    assert error.value.parameter == "memory"


def test_memory_is_for_the_caller_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    areas = []
    for gigabytes in (0.5, 1, 2):
        upscaler = Upscaler(engine="openvino", memory=int(gigabytes * 2**30))
        set_free(upscaler, 64, monkeypatch)
        areas.append(area(upscaler, blank(5000, 5000)))
    assert areas == sorted(set(areas))


def test_a_large_array_gets_large_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    upscaler = Upscaler(engine="openvino")
    monkeypatch.setattr(memory_plan, "total_memory", lambda: 24 * 2**30)
    set_free(upscaler, 64, monkeypatch)
    image = blank(16_000, 16_000)
    rows, columns = upscaler.plan(image)
    assert len(rows) * len(columns) * area(upscaler, image) < 1.4 * 16_000**2


@pytest.mark.parametrize("memory", [0, -1, PROCESS_BASE])
def test_too_little_memory_is_refused(memory: int) -> None:
    with pytest.raises(UsageError, match=f"memory {memory}: expected more than {PROCESS_BASE} bytes"):
        Upscaler(memory=memory)


def test_a_picture_in_a_file_leaves_the_memory_to_tiles(tmp_path: Path) -> None:
    upscaler = Upscaler(engine="openvino", memory=COMMAND_MEMORY)
    areas = []
    for image in (
        np.empty((8000, 8000, 3), np.uint8),
        np.memmap(tmp_path / "a", np.uint8, "w+", shape=(8000, 8000, 3)),
    ):
        rows, columns = upscaler.plan(image)
        areas.append(rows[0].length * columns[0].length)
    assert areas[1] > areas[0] * 1.2


def test_transparency_takes_of_the_memory() -> None:
    upscaler = Upscaler(engine="openvino", memory=COMMAND_MEMORY)
    areas = []
    for channels in (1, 2):
        rows, columns = upscaler.plan(blank(2000, 2000, channels))
        areas.append(rows[0].length * columns[0].length)
    assert areas[1] < areas[0] * 0.9


@pytest.mark.parametrize("side", [1000, 8000, 12000])
def test_the_picture_and_its_strips_take_of_the_memory(side: int) -> None:
    upscaler = Upscaler(engine="openvino", memory=COMMAND_MEMORY)
    image = blank(side, side)
    rows, columns = upscaler.plan(image)
    tiles = rows[0].length * columns[0].length * upscaler.engine.bytes_per_pixel
    strips = max(span.keep_stop - span.keep_start for span in rows) * 4 * side * 4 * 3
    assert image.nbytes + strips + tiles < 2**30 - 2**28 or rows[0].length < 150


@pytest.mark.parametrize("side", [800, 1200, 1600, 2000, 2400])
def test_transparency_takes_what_it_was_measured_to_take(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """80 bytes for each pixel of an enlarged tile; the image and the strips count too."""
    upscaler = Upscaler(engine="openvino", memory=COMMAND_MEMORY)
    set_free(upscaler, 64, monkeypatch)
    image = blank(side, side, 4)
    rows, columns = upscaler.plan(image)
    strips = max(span.keep_stop - span.keep_start for span in rows) * 16 * image[0].nbytes
    tiles = rows[0].length * columns[0].length * (upscaler.engine.bytes_per_pixel + 80 * 16)
    assert tiles + strips + image.nbytes <= COMMAND_MEMORY - PROCESS_BASE


def test_rows_of_a_picture_in_a_file_take_of_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the picture, which reading brings into memory, and those of the enlarged one."""
    upscaler = Upscaler(engine="openvino", memory=COMMAND_MEMORY)
    set_free(upscaler, 64, monkeypatch)
    for side in (4000, 6000, 8000):
        image = np.memmap(tmp_path / f"{side}", np.uint8, "w+", shape=(side, side, 3))
        rows, columns = upscaler.plan(image)
        strips = max(span.keep_stop - span.keep_start for span in rows) * (16 + 1) * image[0].nbytes
        tiles = rows[0].length * columns[0].length * upscaler.engine.bytes_per_pixel
        assert tiles + strips <= COMMAND_MEMORY - PROCESS_BASE


@pytest.mark.parametrize(
    ("memory", "free", "room"), [(None, 80, 3), (2, 80, 2), (40, 80, 40), (None, 4, 2), (8, 4, 2)], ids=str
)
def test_tiles_on_a_gpu(memory: int | None, free: int, room: float) -> None:
    """3 GiB unless the caller says how much; half of what is free at most."""
    gpu = SimpleNamespace(device="cuda", scale=4, bytes_per_pixel=10_000, free_memory=lambda: free * 2**30)
    limit = None if memory is None else memory * 2**30
    rows, columns = plan_for_memory(blank(9000, 9000), cast(Engine, gpu), 48, limit)
    assert 0.85 < rows[0].length * columns[0].length * 10_000 / (room * 2**30) <= 1


def test_the_whole_image_is_one_tile_on_request() -> None:
    rows, columns = Upscaler(engine="openvino", tile=0).plan(blank(5001, 7002))
    assert [(span.start, span.stop, span.keep_start, span.keep_stop) for span in rows] == [(0, 5001, 0, 5001)]
    assert [(span.start, span.stop, span.keep_start, span.keep_stop) for span in columns] == [(0, 7002, 0, 7002)]
