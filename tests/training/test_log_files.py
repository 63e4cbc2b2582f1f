"""What a training tells."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path

import pytest
from PIL import Image

from bgai.errors import OutputError
from bgai.training.log_files import Journal, draw_curves, flattened, read_records, show_messages, smoothed


def test_lines_and_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bgai")
    journal = Journal(tmp_path, 0)
    journal.line("iteration 1, 100 %s")
    journal.record(1, loss=0.5, validation={"Set5": {"psnr": 30.0}})
    assert capsys.readouterr().out == ""
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("bgai.training", "iteration 1, 100 %s")
    ]
    line = (tmp_path / "train.log").read_text()
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}  iteration 1, 100 %s\n", line)
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {
        "iteration": 1,
        "loss": 0.5,
        "validation": {"Set5": {"psnr": 30.0}},
    }


def test_messages_are_shown_on_request_alone(tmp_path: Path) -> None:
    journal, stream = Journal(tmp_path, 0), io.StringIO()
    journal.line("before")
    with show_messages(stream):
        journal.line("within")
    journal.line("after")
    assert stream.getvalue() == "within\n"


@pytest.mark.parametrize(
    "damage",
    [b"\xff\xfe", b"[]", b"1", b"null", b"{}", b'{"iteration": "a"}', b'{"iteration": 1, "loss": "x"}', b"[" * 100_000],
)
def test_a_damaged_line_is_left_out(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"iteration": 1, "loss": 0.5}\n' + damage + b'\n{"iteration": 3, "loss": 0.5}\n')
    assert [record["iteration"] for record in read_records(path)] == [1, 3]
    Journal(tmp_path, 3).record(4, loss=0.5)
    assert len(path.read_bytes().splitlines()) == 3


def test_what_came_after_the_state_is_dropped(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0)
    for iteration in (10, 20, 30):
        journal.record(iteration, loss=1.0)
    with journal.records.open("a") as file:
        file.write('{"iteration": 40, "lo')  # the process was killed
    Journal(tmp_path, 20).record(25, loss=2.0)
    assert [record["iteration"] for record in read_records(journal.records)] == [10, 20, 25]


def test_nested_values_get_paths_for_names() -> None:
    assert flattened({"loss": 1, "validation": {"Set5": {"psnr": 2}}}) == {"loss": 1, "validation/Set5/psnr": 2}


@pytest.mark.parametrize("records", [0, 3])
def test_curves_are_a_picture(tmp_path: Path, records: int) -> None:
    entries = [{"iteration": n, "loss": 1 / (n + 1), "lr": 0.1, "validation": {"Set5": {"psnr": n}}} for n in range(3)]
    draw_curves(entries[:records], tmp_path / "curves.png", "name")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width == 120 * 5 * max(records, 1)


def test_a_long_curve_is_smoothed() -> None:
    iterations, values = smoothed(range(500_000), [float(n % 2) for n in range(500_000)])
    assert len(iterations) == len(values) == 100
    assert iterations[0] == pytest.approx(2499.5)
    assert values == pytest.approx([0.5] * 100)
    assert smoothed([1, 2, 3], [4.0, 5.0, 6.0]) == ([1, 2, 3], [4.0, 5.0, 6.0])


def test_many_points_are_drawn(tmp_path: Path) -> None:
    draw_curves([{"iteration": n, "loss": 0.5} for n in range(1000)], tmp_path / "curves.png", "name")
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made a folder"):
        Journal(tmp_path / "file/below", 0)
