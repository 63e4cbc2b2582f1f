"""Pictures that appear in a folder are found when they are complete, and once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import picture

from bgai.errors import UsageError
from bgai.upscaling.watching import new_pictures


def test_a_picture_is_found_once_when_two_looks_agree(tmp_path: Path) -> None:
    picture(tmp_path / "there.png")
    looks = new_pictures([tmp_path], seconds=0)
    assert [next(looks), next(looks), next(looks)] == [[], [tmp_path / "there.png"], []]
    picture(tmp_path / "new.png")
    assert [next(looks), next(looks), next(looks)] == [[], [tmp_path / "new.png"], []]


def test_a_picture_that_grows_is_waited_for(tmp_path: Path) -> None:
    whole = picture(tmp_path / "whole.png").read_bytes()
    (tmp_path / "whole.png").unlink()
    path = tmp_path / "a.png"
    path.touch()
    looks = new_pictures([tmp_path], seconds=0)
    for end in range(0, len(whole), 100):
        path.write_bytes(whole[:end])
        assert next(looks) == []
    path.write_bytes(whole)
    assert [next(looks), next(looks)] == [[], [path]]


def test_a_picture_that_was_changed_is_new(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    looks = new_pictures([tmp_path], seconds=0)
    assert [next(looks), next(looks)] == [[], [path]]
    os.utime(path, ns=(1, 1))
    assert [next(looks), next(looks), next(looks)] == [[], [path], []]


def test_what_is_no_picture_of_the_folder_is_left_out(tmp_path: Path) -> None:
    for name in ("inner", "out"):
        (tmp_path / name).mkdir()
        picture(tmp_path / name / "a.png")
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "folder.png").mkdir()
    picture(tmp_path / ".hidden.png")
    (tmp_path / "gone.png").symlink_to("nothing")
    looks = new_pictures([tmp_path], recursive=False, seconds=0)
    assert [next(looks), next(looks)] == [[], []]
    looks = new_pictures([tmp_path], recursive=True, outputs=tmp_path / "out", seconds=0)
    assert [next(looks), next(looks)] == [[], [tmp_path / "inner/a.png"]]


def test_only_folders_can_be_watched(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        next(new_pictures([picture(tmp_path / "a.png")]))
