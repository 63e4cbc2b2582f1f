from __future__ import annotations

from pathlib import Path

import pytest

from bgai.cluster.lists import expand_lists
from bgai.errors import ImageError, UsageError
from bgai.remote_files import RemotePath


def test_lists_are_replaced_by_what_they_name(tmp_path: Path) -> None:
    names = tmp_path / "names.TXT"
    names.write_text("\ufeffa b.png\n\n  s3://bucket/c.png  \r\nhttps://host/folder/\n", encoding="utf-8")
    first, local, remote, folder, last = expand_lists([Path("x.png"), names, Path("y")])
    assert [first, local, last] == [Path("x.png"), Path("a b.png"), Path("y")]
    assert isinstance(remote, RemotePath)
    assert isinstance(folder, RemotePath)
    assert (str(remote), remote.is_dir()) == ("s3://bucket/c.png", False)  # no storage was asked
    assert (str(folder), folder.is_dir()) == ("https://host/folder", True)


def test_lists_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n \n")
    with pytest.raises(ImageError, match=r"names.txt: names no pictures; expected one path or address on each line"):
        expand_lists([tmp_path / "names.txt"])


def test_lists_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xff")
    for name in ("none.txt", "binary.txt"):
        with pytest.raises(ImageError, match=rf"{name}: cannot be read as a list of pictures"):
            expand_lists([tmp_path / name])


def test_unknown_addresses_in_lists(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("ftp://host/a.png\n")
    with pytest.raises(UsageError, match=r"ftp://: expected one of"):
        expand_lists([tmp_path / "names.txt"])
