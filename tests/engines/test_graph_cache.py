"""Compiled graphs on disk: used when whole, compiled anew when damaged, the newest always kept."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import texture

from bgai.engines import graph_cache
from bgai.engines.openvino_engine import OpenVinoEngine
from bgai.types import Tiles
from bgai.weights.reading import read_weights
from bgai.weights.sources import find_weights


def open_engine(folder: Path) -> OpenVinoEngine:
    return OpenVinoEngine(*read_weights(find_weights(None, 4).file), folder)


@pytest.fixture
def tiles() -> Tiles:
    tiles: Tiles = (texture(20, 24).transpose(2, 0, 1)[None] / 255).astype(np.float32)
    return tiles


def test_a_graph_is_compiled_once(tiles: Tiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_engine(tmp_path)(tiles)
    (file,) = tmp_path.iterdir()
    assert file.suffix == ".graph"
    monkeypatch.setattr(graph_cache, "_compile", None)  # is not called again
    np.testing.assert_array_equal(open_engine(tmp_path)(tiles), first)
    assert list(tmp_path.iterdir()) == [file]


def flip(file: Path, place: float) -> None:
    content = bytearray(file.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    file.write_bytes(content)


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit at the start": lambda file: flip(file, 0),
    "a flipped bit in the graph": lambda file: flip(file, 0.3),
    "a flipped bit among the weights": lambda file: flip(file, 0.9),
    "a flipped bit at the end": lambda file: flip(file, 1),
    "half of it": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "nothing": lambda file: file.write_bytes(b""),
    "more": lambda file: file.write_bytes(file.read_bytes() + b"more"),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "another graph": lambda file: file.write_bytes(file.with_suffix(".other").read_bytes()),
    "a folder": replace_by_folder,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_graph_is_compiled_anew(
    name: str, tiles: Tiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_engine(tmp_path)
    expected = engine(tiles)
    (file,) = tmp_path.iterdir()
    if name == "another graph":
        engine._request((8, 8))
        (other,) = set(tmp_path.iterdir()) - {file}
        other.rename(file.with_suffix(".other"))
    DAMAGES[name](file)
    with caplog.at_level(logging.WARNING, logger="bgai"):
        np.testing.assert_array_equal(open_engine(tmp_path)(tiles), expected)
    assert len(caplog.messages) == 1
    assert "compiled anew" in caplog.messages[0]
    if name != "a folder":  # which stays, and no harm done
        caplog.clear()
        np.testing.assert_array_equal(open_engine(tmp_path)(tiles), expected)
        assert not caplog.messages


def test_the_newest_graphs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_cache, "KEPT_FILES", 2)
    engine = open_engine(tmp_path)
    made: list[Path] = []
    for side in (1, 2, 3):
        engine._request((side, 8))
        (new,) = set(tmp_path.iterdir()) - set(made)
        os.utime(new, (1e9 - side, 1e9 - side))  # a clock that goes backwards
        made.append(new)
    assert set(tmp_path.iterdir()) == {made[0], made[2]}


def test_a_graph_that_is_used_counts_as_new(tmp_path: Path) -> None:
    open_engine(tmp_path)._request((1, 8))
    (file,) = tmp_path.iterdir()
    os.utime(file, (1e9, 1e9))
    open_engine(tmp_path)._request((1, 8))
    assert file.stat().st_mtime > 1e9


def test_few_files_mean_that_none_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_cache, "KEPT_FILES", 10)
    engine = open_engine(tmp_path)
    for side in (1, 2, 3):
        engine._request((side, 8))
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_cannot_be_written_is_done_without(tiles: Tiles, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    engine = open_engine(tmp_path / "file" / "cache")
    assert engine(tiles).shape == (1, 3, 80, 96)
