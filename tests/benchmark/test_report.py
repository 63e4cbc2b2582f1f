"""Results as tables, files and plots."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from bgai.benchmark.report import head, markdown, outputs, ratios, rows, spread
from bgai.benchmark.rounds import Comparison, Result
from bgai.errors import MissingExtraError, UsageError
from bgai.processors import usable_cpus
from bgai.provenance import commit

FIRST = Result("first", {"device": "cpu"}, 1.5, (1.0, 2.0, 4.0), (2.0, 4.0, 8.0), 300 * 2**20, "")
SLOWER = Result("slower", {"tiles": "2 of 96 x 64"}, 2.5, (3.0, 4.0, 4.0), (3.0, 4.0, 4.0), 3000 * 2**20, "")
KILLED = Result("killed", {}, 0.5, (1.0,), (1.0,), 2**20, "killed by SIGKILL")
MISSING = Result("missing", {}, 0.0, (), (), 0, "No module named 'it'")
COMPARISON = Comparison("8 x 8 to 32 x 32", (FIRST, SLOWER, KILLED, MISSING))


def test_the_table() -> None:
    assert head(COMPARISON)[2] == "times first's"
    assert rows(COMPARISON) == [
        ["first", "2.00 (1.50 to 3.00)", "1.00 (1.00 to 1.00)", "2.0", "300", "1.5"],
        ["slower, tiles: 2 of 96 x 64", "4.00 (3.50 to 4.00)", "2.00 (1.50 to 2.50)", "1.0", "3,000", "2.5"],
        ["killed", "ended early: killed by SIGKILL", "", "", "", ""],
        ["missing", "not run: No module named 'it'", "", "", "", ""],
    ]


def test_a_report_to_share_names_nobody(tmp_path: Path) -> None:
    """A failure's message may hold names of folders, and facts what else a process says."""
    telling = Result(
        "openvino", {"device": "cpu", "home": str(Path.home())}, 1.5, (1.0,), (2.0,), 2**30, f"{tmp_path}!"
    )
    with outputs(None, None, None, tmp_path / "share.json") as write:
        write([Comparison("8 x 8 to 32 x 32", (FIRST, telling))], {"weights": str(tmp_path)})
    text = (tmp_path / "share.json").read_text()
    assert not [name for name in (str(tmp_path), str(Path.home())) if name in text]
    report = json.loads(text)
    assert set(report) == {
        *("processor", "memory_gib", "threads", "system", "isa_limit", "versions", "commit", "results"),
    }
    first, second = report["results"]
    assert first["seconds"] == [1.0, 2.0, 4.0]
    assert (first["finished"], first["peak_mib"], first["size"]) == (True, 300, "8 x 8 to 32 x 32")
    assert not second["finished"]


def test_pairs_end_with_the_shorter_side() -> None:
    assert ratios(SLOWER, KILLED) == [3.0]
    assert ratios(SLOWER, MISSING) == []


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], ""),
        ([0.00012345], "0.000123 (0.000123 to 0.000123)"),
        ([1, 3], "2.00 (1.50 to 2.50)"),
        ([123.4] * 2, "123 (123 to 123)"),
    ],
)
def test_spread(values: list[float], text: str) -> None:
    assert spread(values) == text


def test_a_page_has_the_tables_and_what_they_were_made_by() -> None:
    page = markdown([COMPARISON, COMPARISON], {"rounds": 3, "warm_ups": 2})
    assert page.count("**8 x 8 to 32 x 32**") == 2
    assert page.count("| missing | not run: No module named 'it' |  |  |  |  |") == 2
    assert f"rounds 3, warm ups 2; commit {commit()}" in page


def test_outputs_hold_every_round(tmp_path: Path) -> None:
    files = [tmp_path / "made/a.json", tmp_path / "a.md", tmp_path / "a.png"]
    with outputs(*files) as write:
        write([COMPARISON], {"rounds": 3})
    record = json.loads(files[0].read_text())
    assert record["commit"] == commit()
    assert record["threads"] == usable_cpus()
    assert {"machine", "versions"} < set(record)
    assert record["settings"] == {"rounds": 3}
    (comparison,) = record["comparisons"]
    assert comparison["title"] == COMPARISON.title
    assert [result["seconds"] for result in comparison["results"]] == [[1, 2, 4], [3, 4, 4], [1], []]
    assert files[1].read_text() == markdown([COMPARISON], {"rounds": 3})
    assert Image.open(files[2]).width == 960


def test_outputs_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), outputs(tmp_path / "a.json", tmp_path / "a.md", tmp_path / "a.svg"):
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_outputs_that_cannot_be_are_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"a: asked for twice"), outputs(tmp_path / "a", tmp_path / "a", None):
        pytest.fail("the block ran")
    with pytest.raises(UsageError, match=r"a\.jpg: expected a name that ends in \.png"):
        outputs(None, None, tmp_path / "a.jpg").__enter__()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        MissingExtraError, match=r"a plot needs the extra 'train': install it with  pip install 'bgai\[train\]'"
    ):
        outputs(None, None, tmp_path / "a.png").__enter__()
