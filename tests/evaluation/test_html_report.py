"""Parts of the page of results; the whole of it is tested in test_run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support import texture

from bgai.evaluation.html_report import Example, _readable, write_page
from bgai.evaluation.result_folder import Measurement, Results


def test_an_example_is_where_the_difference_lies() -> None:
    hr = texture(200, 300)
    bicubic, sr = hr.copy(), hr.copy()
    bicubic[150:180, 230:270] ^= 64  # SR is better there
    sr[10:40, 20:60] ^= 64  # and worse there
    most = Example.cut("Set5", "a", True, bicubic, sr, hr)
    least = Example.cut("Set5", "a", False, bicubic, sr, hr)
    assert most.sr.shape == most.hr.shape == most.bicubic.shape == (144, 144, 3)
    assert np.array_equal(most.sr, most.hr)
    assert (most.bicubic != most.hr).sum() == (bicubic != hr).sum()
    assert np.array_equal(least.bicubic, least.hr)
    assert (least.sr != least.hr).sum() == (sr != hr).sum()


def test_small_images_are_examples_as_a_whole() -> None:
    hr = texture(20, 30)
    assert Example.cut("Set5", "a", True, hr, hr, hr).hr.shape == (20, 30, 3)


def test_names_that_would_cover_each_other_are_left_out() -> None:
    points = {"low": (100.0, 30.0), "far": (900.0, 30.0), "near": (110.0, 30.01), "top": (500.0, 32.0)}
    assert _readable(points, (500.0, 31.0)) == ["top", "near", "far"]
    assert _readable(points, (890.0, 30.01)) == ["top", "near"]


def test_every_value_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    run = {
        "name": evil,
        "scale": 2,
        "weights": evil,
        "weights_sha256": evil,
        "parameters": 1000,
        "engine": evil,
        "device": evil,
        "commit": evil,
        "machine": evil,
        "versions": evil,
        "options": {"datasets": {"test_1": {"name": evil}}, "val": {"metrics": {}}, evil: evil},
    }
    results = Results(tmp_path, "run", run)
    results.begin()
    results.add(Measurement(evil, evil, 0.1, 0.5, {evil: 30.0}, 0.1, {evil: 29.0}))
    pixels = texture(20, 30)
    write_page(results, [Example.cut(evil, evil, True, pixels, pixels, pixels)])
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert evil not in page
    assert page.count("&lt;script&gt;") > 12
