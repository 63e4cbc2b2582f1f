"""What is said of weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support import copied

import bgai.weights.sources
from bgai.errors import UsageError, WeightsError
from bgai.network.config import SCALES
from bgai.weights.catalogue import NAMES, catalogue, describe
from bgai.weights.download import Pinned
from bgai.weights.history import Run, as_json
from bgai.weights.sources import OFFICIAL_MIRRORS, SHIPPED


def test_the_package_s_weights_say_what_they_are() -> None:
    for scale, entry in zip(SCALES, catalogue("bgai"), strict=True):
        assert (entry.name, entry.scale, entry.halo) == ("bgai", scale, 48)
        assert entry.file == SHIPPED / f"bgai_x{scale}.safetensors"
        assert entry.urls == []
        assert 290_000 < entry.parameters < 320_000
        assert entry.scores["Set5"]["psnr"] > 31
        assert entry.purpose
        assert entry.data
        assert entry.minutes
        assert entry.commit


def test_official_weights_say_where_they_come_from_and_then_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BGAI_CACHE", str(tmp_path))
    monkeypatch.delenv("BGAI_OFFICIAL_URL", raising=False)
    (entry,) = catalogue("official", 3)
    assert (entry.file, entry.scale, entry.halo, entry.parameters) == (None, 3, 64, 304_607)
    assert entry.urls == [f"{mirror}/BGAI_x3.pth" for mirror in OFFICIAL_MIRRORS]
    (tmp_path / "official").mkdir()
    (tmp_path / "official/BGAI_x3.pth").write_bytes(b"damaged")
    assert catalogue("official", 3) == [entry]
    digest = "b2a46d0c2cb1d66cc01a1b1d5d1e2c3a9f2cf0f6" + "0" * 24
    monkeypatch.setitem(bgai.weights.sources.OFFICIAL, 3, Pinned(7, digest))
    assert catalogue("official", 3)[0].file is None
    monkeypatch.setattr(Pinned, "is_in", lambda self, content: content == b"damaged")
    assert catalogue("official", 3)[0].file == tmp_path / "official/BGAI_x3.pth"


def test_all_names_and_scales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(SHIPPED, tmp_path / "shipped")
    copied(tmp_path / "shipped/photo_x2.safetensors")
    for scale in (3, 4):
        (tmp_path / f"shipped/photo_x{scale}.safetensors").unlink(missing_ok=True)
    monkeypatch.setattr(bgai.weights.sources, "SHIPPED", tmp_path / "shipped")
    found = [(entry.name, entry.scale) for entry in catalogue()]
    assert found == [*(("bgai", scale) for scale in SCALES), ("photo", 2), *(("official", scale) for scale in SCALES)]
    assert {name for name, _ in found} == set(NAMES)
    assert [entry.scale for entry in catalogue("photo")] == [2]
    assert [entry.name for entry in catalogue(scale=3)] == ["bgai", "official"]
    with pytest.raises(WeightsError, match="holds no photo weights for ×3 yet, only ×2"):
        catalogue("photo", 3)
    with pytest.raises(UsageError, match="expected one of 2, 3 and 4"):
        catalogue("bgai", 5)


def test_a_file_says_what_its_metadata_do(tmp_path: Path) -> None:
    scores = {"Set5": {"psnr": 30.5, "ssim": 0.9}, "Set14": {"psnr": 28}}
    path = copied(
        tmp_path / "a.safetensors",
        purpose="old \x1b[31mscans",
        data="a book",
        teacher="official ×2",
        minutes="7.5",
        halo="40",
        scores=json.dumps(scores),
        validation=json.dumps({"Set5": {"psnr": 1}}),
        commit="abc",
    )
    entry = describe(path)
    assert (entry.name, entry.scale, entry.parameters, entry.halo) == (str(path), 2, 297_572, 40)
    assert (entry.purpose, entry.data, entry.teacher) == ("old [31mscans", "a book", "official ×2")
    assert (entry.minutes, entry.commit, entry.scores) == (7.5, "abc", scores)


def test_trainings_in_a_row_count_together(tmp_path: Path) -> None:
    runs = [Run(2, 10, 1.5, "a \x1b[31mbook", "pixels 1", 0, "abc", teacher="a film"), Run(2, 5, 2, "b", "l", 1, "d")]
    entry = describe(copied(tmp_path / "a.safetensors", minutes="2.0", data="b", history=as_json(runs)))
    assert (entry.minutes, entry.data, entry.teacher) == (3.5, "b", "a film")
    assert [run.data for run in entry.history] == ["a [31mbook", "b"]


def test_a_file_that_says_nothing(tmp_path: Path) -> None:
    entry = describe(copied(tmp_path / "a.safetensors"), 2)
    assert (entry.purpose, entry.data, entry.minutes, entry.scores, entry.halo) == (None, None, None, {}, 64)


@pytest.mark.parametrize(
    "scores",
    [
        "{",
        "[]",
        '"x"',
        '{"Set5": 3}',
        '{"Set5": {"psnr": null}}',
        '{"Set5": {"psnr": []}}',
        '{"Set5": {"psnr": 1e999}}',
        "3",
    ],
)
def test_odd_scores_are_one_clear_line(scores: str, tmp_path: Path) -> None:
    path = copied(tmp_path / "a.safetensors", scores=scores)
    with pytest.raises(WeightsError, match="its metadata says scores"):
        describe(path)


def test_what_is_no_weights(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    with pytest.raises(UsageError, match="a graph, which does not say"):
        describe(tmp_path / "a.onnx")
    with pytest.raises(UsageError, match="enlarges ×2; leave the scale out"):
        describe(copied(tmp_path / "a.safetensors"), 3)
    (tmp_path / "a.pth").write_bytes(b"x")
    with pytest.raises(WeightsError, match="not a PyTorch checkpoint"):
        describe(tmp_path / "a.pth")
