"""The folder of a test."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from bgai.errors import OutputError
from bgai.evaluation.result_folder import Measurement, Results, formatted

RUN = {"name": "run", "scale": 2, "commit": "a"}


def measurement(image: str, psnr: float = 30.0) -> Measurement:
    return Measurement("Set", image, 0.1, 0.5, {"psnr": psnr, "ssim": 0.9}, 0.01, {"psnr": 28.0, "ssim": 0.8})


def test_an_interrupted_test_goes_on(tmp_path: Path) -> None:
    first = Results(tmp_path, "run", RUN)
    first.begin()
    first.add(measurement("a"))
    first.add(measurement("b", math.inf))
    lines = tmp_path / "run/images.jsonl"
    lines.write_text(lines.read_text() + '{"dataset": "Set", "ima')  # killed while it wrote
    second = Results(tmp_path, "run", RUN)
    assert second.measurements == first.measurements
    second.begin()
    second.add(measurement("c"))
    assert [one.image for one in Results(tmp_path, "run", RUN).measurements] == ["a", "b", "c"]
    assert second.has("Set", "a")
    assert not second.has("Set", "d")


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"[]", b"null", b"{}", b'{"dataset": 1}', b"[" * 100_000])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_damaged_line_costs_its_image_alone(tmp_path: Path, place: int, damage: bytes) -> None:
    results = Results(tmp_path, "run", RUN)
    results.begin()
    for image in ("a", "b", "c"):
        results.add(measurement(image))
    lines = (tmp_path / "run/images.jsonl").read_bytes().splitlines()
    lines[place] = damage
    (tmp_path / "run/images.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    again = Results(tmp_path, "run", RUN)
    again.begin()
    assert [each.image for each in again.measurements] == [["a", "b", "c"], ["b", "c"], ["a", "c"]][place]
    assert not list(tmp_path.glob("run_archived_*"))
    assert [each.image for each in Results(tmp_path, "run", RUN).measurements] == [
        each.image for each in again.measurements
    ]


@pytest.mark.parametrize(("run", "overwrite"), [({**RUN, "commit": "b"}, False), (RUN, True)])
def test_other_results_are_set_aside(tmp_path: Path, run: dict[str, object], overwrite: bool) -> None:
    first = Results(tmp_path, "run", RUN)
    first.begin()
    first.add(measurement("a"))
    second = Results(tmp_path, "run", run, overwrite)
    assert second.measurements == []
    second.begin()
    (aside,) = tmp_path.glob("run_archived_*")
    assert len((aside / "images.jsonl").read_text().splitlines()) == 2
    assert json.loads((tmp_path / "run/run.json").read_text()) == run


def test_the_summary(tmp_path: Path) -> None:
    results = Results(tmp_path, "run", RUN)
    results.begin()
    for one in (measurement("a", 30), measurement("b", 31)):
        results.add(one)
    results.summarise()
    assert json.loads((tmp_path / "run/metrics.json").read_text()) == {
        "Set": {
            "psnr": 30.5,
            "ssim": 0.9,
            "seconds": 0.5,
            "images": {"a": {"psnr": 30, "ssim": 0.9}, "b": {"psnr": 31, "ssim": 0.9}},
        }
    }


def test_infinity_is_null_in_json(tmp_path: Path) -> None:
    results = Results(tmp_path, "run", RUN)
    results.begin()
    results.add(measurement("a", math.inf))
    results.summarise()
    assert json.loads((tmp_path / "run/metrics.json").read_text())["Set"]["psnr"] is None
    assert formatted(math.inf) == "∞"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(OutputError, match="run"):
        Results(tmp_path, "run", RUN).begin()


def test_the_gain_is_a_number_even_where_bicubic_is_without_error() -> None:
    """Images are ordered by it, and infinity less infinity has no order."""
    assert measurement("a", 30.0).gain == 2
    equal = replace(measurement("a", math.inf), bicubic={"psnr": math.inf, "ssim": 1.0})
    assert equal.gain == 0
    assert replace(equal, scores={"psnr": 40.0, "ssim": 0.9}).gain == 0
