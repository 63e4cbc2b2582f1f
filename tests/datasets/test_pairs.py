"""Pairs of images, from folders and from stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import save_pairs, texture

from bgai.datasets.lmdb_store import pack_lmdb
from bgai.datasets.matlab_resize import imresize
from bgai.datasets.pairs import PairedImages, make_lr, read_names
from bgai.errors import ImageError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_pairs(tmp_path)


def pairs(folder: Path, **more: Any) -> PairedImages:
    return PairedImages(**{"hr": folder / "hr", "lr": folder / "x2", "scale": 2, **more})


def test_pairs_are_read_by_name(folder: Path) -> None:
    opened = pairs(folder)
    assert opened.names == ["0", "deep/1", "deep/2"]
    assert opened.sizes() == [(30, 24), (20, 36), (18, 18)]
    lr, hr = opened.read(1)
    np.testing.assert_array_equal(hr, texture(40, 72, seed=1))
    np.testing.assert_array_equal(lr, imresize(hr, 1 / 2))


def test_missing_low_resolution_images_are_made(folder: Path) -> None:
    given, made = pairs(folder), pairs(folder, lr=None)
    for index in range(3):
        np.testing.assert_array_equal(given.read(index)[0], made.read(index)[0])
    assert pairs(folder, lr=None, scale=4).sizes() == [(15, 12), (10, 18), (9, 9)]


def test_stores_give_what_folders_give(folder: Path) -> None:
    for name in ("hr", "x2"):
        pack_lmdb(folder / name / "deep", folder / f"{name}.lmdb")
    stores = {"hr": folder / "hr.lmdb", "lr": folder / "x2.lmdb", "lmdb": True}
    packed, loose = pairs(folder, **stores), pairs(folder)
    assert packed.names == ["1", "2"]
    assert packed.sizes() == loose.sizes()[1:]
    for ours, theirs in zip(packed.read(1), loose.read(2), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_names_of_low_resolution_images_follow_the_template(folder: Path) -> None:
    for path in (folder / "x2").rglob("*.png"):
        path.rename(path.with_name(path.stem + "x2.png"))
    opened = pairs(folder, lr_name="{}x2")
    assert opened.read(2)[0].shape == (18, 18, 3)


def test_all_missing_images_are_named(folder: Path) -> None:
    (folder / "x2/0.png").unlink()
    (folder / "x2/deep/2.png").unlink()
    with pytest.raises(ImageError, match="expected 0, deep/2 there"):
        pairs(folder)


def test_a_pair_of_unequal_sizes_is_named(folder: Path) -> None:
    Image.fromarray(texture(20, 35)).save(folder / "x2/deep/1.png")
    opened = pairs(folder)
    with pytest.raises(ImageError, match="deep/1 has 35 x 20 pixels; expected 36 x 20"):
        opened.sizes()
    with pytest.raises(ImageError, match="deep/1 has 35 x 20 pixels; expected 36 x 20"):
        opened.read(1)


def test_a_list_of_names_chooses(folder: Path) -> None:
    (folder / "names.txt").write_text("0.png (60,48,3)\ndeep/2.png (36,36,3)\n")
    assert pairs(folder, only=read_names(folder / "names.txt")).names == ["0", "deep/2"]
    with pytest.raises(ImageError, match="the list of names is empty"):
        pairs(folder, only=set())
    with pytest.raises(ImageError, match="expected nothing"):
        pairs(folder, only={"0", "nothing"})


@pytest.mark.parametrize("wrong", ["missing", "empty"])
def test_folders_without_images_are_refused(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=wrong if wrong == "empty" else "no such folder"):
        PairedImages(tmp_path / wrong, None, 2)


def test_two_images_of_one_name_are_refused(folder: Path) -> None:
    Image.fromarray(texture(60, 48)).save(folder / "hr/0.jpg")
    with pytest.raises(ImageError, match=r"0\.jpg: its name without suffix is also that of 0\.png"):
        pairs(folder)


def test_made_images_stay_in_their_folder(folder: Path) -> None:
    make_lr(folder / "hr", folder / "made", 2, "{}x2")
    assert sorted(path.name for path in (folder / "made").rglob("*.png")) == ["0x2.png", "1x2.png", "2x2.png"]
    with pytest.raises(UsageError, match="cannot be the name of a file below"):
        make_lr(folder / "hr", folder / "outside", 2, "../../{}")
    assert not list(folder.parent.glob("*.png"))
    assert not (folder / "outside").exists()


def test_several_folders_are_paired_one_by_one(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "more/hr").mkdir(parents=True)
    (tmp_path / "more/x2").mkdir()
    for name, side in (("hr", 40), ("x2", 20)):
        Image.fromarray(texture(side, side, seed=7)).save(tmp_path / f"more/{name}/a.png")
    pairs = PairedImages([folder / "hr", tmp_path / "more/hr"], [folder / "x2", tmp_path / "more/x2"], 2)
    alone = PairedImages(folder / "hr", folder / "x2", 2)
    assert pairs.names == [f"1/{name}" for name in alone.names] + ["2/a"]
    assert pairs.sizes()[-1] == (20, 20)
    for ours, theirs in zip(pairs.read(0), alone.read(0), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(pairs.read(len(pairs) - 1)[1], texture(40, 40, seed=7))
    Image.fromarray(texture(21, 20)).save(tmp_path / "more/x2/a.png")
    with pytest.raises(ImageError, match=r"more/x2: a has 20 x 21 pixels; expected 20 x 20, 1/2 of .*more/hr/a"):
        pairs.sizes()
