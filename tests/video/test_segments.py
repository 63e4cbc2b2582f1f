"""Finished parts of a video wait beside the output."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgai.errors import OutputError
from bgai.video.segments import EncodedFrame, Segments

FRAMES = [EncodedFrame(0, True, b"first"), EncodedFrame(2, False, b""), EncodedFrame(1, False, b"\0" * 1000)]


def test_frames_come_back_as_they_were(tmp_path: Path) -> None:
    segments = Segments(tmp_path / "out.mp4", "owner")
    segments.write(0, b"header", iter(FRAMES))
    segments.write(1, b"header", iter([EncodedFrame(3, True, b"last")]))
    again = Segments(tmp_path / "out.mp4", "owner")
    assert [again.is_finished(index) for index in range(3)] == [True, True, False]
    assert again.header() == b"header"
    assert again.numbers(2) == [0, 2, 1, 3]
    assert list(again.frames(2)) == [*FRAMES, EncodedFrame(3, True, b"last")]
    again.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_segment_that_was_not_finished_is_none(tmp_path: Path) -> None:
    def broken() -> Iterator[EncodedFrame]:
        yield FRAMES[0]
        raise KeyboardInterrupt

    segments = Segments(tmp_path / "out.mp4", "owner")
    with pytest.raises(KeyboardInterrupt):
        segments.write(0, b"", broken())
    assert not Segments(tmp_path / "out.mp4", "owner").is_finished(0)


def test_segments_of_another_owner_are_removed(tmp_path: Path) -> None:
    segments = Segments(tmp_path / "out.mp4", "owner")
    segments.write(0, b"", iter(FRAMES))
    assert not segments.replaced
    assert Segments(tmp_path / "other.mp4", "other").folder != segments.folder
    other = Segments(tmp_path / "out.mp4", "other")
    assert other.replaced
    assert not other.is_finished(0)


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    Segments(tmp_path / ("x" * 251 + ".mp4"), "owner").write(0, b"", iter(FRAMES))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be made"):
        Segments(tmp_path / "out.mp4", "owner")
