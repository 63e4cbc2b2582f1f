"""Names from option files and data sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgai.errors import UsageError
from bgai.names import checked_name, path_within

BAD = ["", ".", "..", "a/b", "a\\b", "a\x00b", "a\nb", "x" * 201, "ä" * 101]


@pytest.mark.parametrize("name", BAD)
def test_what_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected a name"):
        checked_name(name)


@pytest.mark.parametrize("name", ["a", "a b", "…", "x" * 200, ".a", "a..b"])
def test_other_names_are_given_back(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/a", "a//b", "a/", *(name for name in BAD if name != "a/b")])
def test_a_path_stays_within_its_folder(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a file below"):
        path_within(Path("folder"), name)


def test_slashes_lead_to_folders_below() -> None:
    assert path_within(Path("folder"), "a/b.png") == Path("folder/a/b.png")
