"""Pairs, and the patches of them: the same from files and from memory, in one process and in several."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import texture

from bgai.datasets.lmdb_store import pack_lmdb
from bgai.datasets.matlab_resize import imresize
from bgai.datasets.pairs import Batch, FileBatches, MemoryBatches, PairedImages, PatchPlan, read_names
from bgai.errors import ImageError
from bgai.options.sections import PairedDataset, TrainDataset

CPU = torch.device("cpu")
SIZES = [(60, 48), (40, 72), (36, 36)]  # high resolution
DEGRADATION = {
    "clean": 0.2,
    "blur": {"probability": 0.5, "sigma": [0.3, 1.5]},
    "noise": {"probability": 0.5, "sigma": [1, 20], "grey": 0.5, "poisson": 0.5},
    "webp": {"probability": 0.3, "quality": [30, 90]},
    "jpeg": {"probability": 0.8, "quality": [25, 96], "subsampling": "either", "twice": 0.5},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """High-resolution images and their halves."""
    (tmp_path / "hr/deep").mkdir(parents=True)
    (tmp_path / "x2/deep").mkdir(parents=True)
    for index, size in enumerate(SIZES):
        name = f"{'deep/' if index else ''}{index}.png"
        hr = texture(*size, seed=index)
        Image.fromarray(hr).save(tmp_path / "hr" / name)
        Image.fromarray(imresize(hr, 1 / 2)).save(tmp_path / "x2" / name)
    return tmp_path


def dataset(folder: Path, **more: Any) -> TrainDataset:
    values = {"name": "photos", "dataroot_gt": folder / "hr", "dataroot_lq": folder / "x2", "gt_size": 32}
    return TrainDataset.model_validate({**values, "batch_size_per_gpu": 5, **more})


def plan(options: TrainDataset, rank: int = 0, world_size: int = 1, seed: int = 7) -> PatchPlan:
    return PatchPlan(options, 2, [(h // 2, w // 2) for h, w in SIZES], seed, rank, world_size)


def first(batches: Iterator[Batch], count: int = 6) -> list[Batch]:
    return list(islice(batches, count))


def test_pairs_are_read_by_name(folder: Path) -> None:
    pairs = PairedImages(dataset(folder), 2)
    assert pairs.names == ["0", "deep/1", "deep/2"]
    assert pairs.sizes() == [(30, 24), (20, 36), (18, 18)]
    lr, hr = pairs.read(1)
    np.testing.assert_array_equal(hr, texture(40, 72, seed=1))
    np.testing.assert_array_equal(lr, imresize(hr, 1 / 2))


def test_missing_low_resolution_images_are_made(folder: Path) -> None:
    given, made = PairedImages(dataset(folder), 2), PairedImages(dataset(folder, dataroot_lq=None), 2)
    for index in range(3):
        np.testing.assert_array_equal(given.read(index)[0], made.read(index)[0])
    assert PairedImages(dataset(folder, dataroot_lq=None), 4).sizes() == [(15, 12), (10, 18), (9, 9)]


def test_stores_give_what_folders_give(folder: Path) -> None:
    for name in ("hr", "x2"):
        pack_lmdb(folder / name / "deep", folder / f"{name}.lmdb")
    stores = {"dataroot_gt": folder / "hr.lmdb", "dataroot_lq": folder / "x2.lmdb", "io_backend": {"type": "lmdb"}}
    packed, loose = PairedImages(dataset(folder, **stores), 2), PairedImages(dataset(folder), 2)
    assert packed.names == ["1", "2"]
    assert packed.sizes() == loose.sizes()[1:]
    for ours, theirs in zip(packed.read(1), loose.read(2), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_names_of_low_resolution_images_follow_the_template(folder: Path) -> None:
    for path in (folder / "x2").rglob("*.png"):
        path.rename(path.with_name(path.stem + "x2.png"))
    pairs = PairedImages(dataset(folder, filename_tmpl="{}x2"), 2)
    assert pairs.read(2)[0].shape == (18, 18, 3)


def test_all_missing_images_are_named(folder: Path) -> None:
    (folder / "x2/0.png").unlink()
    (folder / "x2/deep/2.png").unlink()
    with pytest.raises(ImageError, match="expected 0, deep/2 there"):
        PairedImages(dataset(folder), 2)


def test_a_pair_of_unequal_sizes_is_named(folder: Path) -> None:
    Image.fromarray(texture(20, 35)).save(folder / "x2/deep/1.png")
    pairs = PairedImages(dataset(folder), 2)
    with pytest.raises(ImageError, match="deep/1 has 35 x 20 pixels; expected 36 x 20"):
        pairs.sizes()
    with pytest.raises(ImageError, match="deep/1 has 35 x 20 pixels; expected 36 x 20"):
        pairs.read(1)


def test_a_list_of_names_chooses(folder: Path) -> None:
    (folder / "names.txt").write_text("0.png (60,48,3)\ndeep/2.png (36,36,3)\n")
    assert PairedImages(dataset(folder), 2, read_names(folder / "names.txt")).names == ["0", "deep/2"]
    with pytest.raises(ImageError, match="the list of names is empty"):
        PairedImages(dataset(folder), 2, set())
    with pytest.raises(ImageError, match="expected nothing"):
        PairedImages(dataset(folder), 2, {"0", "nothing"})


@pytest.mark.parametrize("wrong", ["missing", "empty"])
def test_folders_without_images_are_refused(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=wrong if wrong == "empty" else "no such folder"):
        PairedImages(PairedDataset(name="x", dataroot_gt=tmp_path / wrong), 2)


def test_patches_show_the_same_place(folder: Path) -> None:
    options = dataset(folder)
    for lr, hr in first(FileBatches(PairedImages(options, 2), plan(options), 0, CPU).since(0)):
        assert (lr.shape, hr.shape) == ((5, 3, 16, 16), (5, 3, 32, 32))
        assert lr.is_contiguous(memory_format=torch.channels_last)
        for one, other in zip(lr, hr, strict=True):
            shrunk = imresize(other.permute(1, 2, 0).mul(255).byte().numpy(), 1 / 2)
            difference = np.abs(shrunk / 255 - one.permute(1, 2, 0).numpy())
            assert difference[3:-3, 3:-3].max() < 0.02  # near its border a patch knows less than the image


@pytest.mark.parametrize("degradation", [None, DEGRADATION], ids=["clean", "degraded"])
def test_files_and_memory_give_the_same(folder: Path, degradation: dict[str, Any] | None) -> None:
    options = dataset(folder, degradation=degradation)
    pairs = PairedImages(options, 2)
    from_files = first(FileBatches(pairs, plan(options), 0, CPU).since(3))
    from_memory = first(MemoryBatches(pairs, plan(options), pairs.sizes(), CPU).since(3))
    for ours, theirs in zip(from_files, from_memory, strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize("degradation", [None, DEGRADATION], ids=["clean", "degraded"])
def test_workers_change_nothing(folder: Path, degradation: dict[str, Any] | None) -> None:
    options = dataset(folder, degradation=degradation)
    pairs = PairedImages(options, 2)
    alone = first(FileBatches(pairs, plan(options), 0, CPU).since(2))
    helped = first(FileBatches(pairs, plan(options), 2, CPU).since(2))
    assert all(torch.equal(a[side], b[side]) for side in (0, 1) for a, b in zip(alone, helped, strict=True))


def test_a_damaged_image_is_one_error(folder: Path) -> None:
    options = dataset(folder)
    pairs = PairedImages(options, 2)
    for path in (folder / "hr").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:-400])
    for workers in (0, 1):
        with pytest.raises(ImageError, match=r"png: damaged") as error:
            first(FileBatches(pairs, plan(options), workers, CPU).since(0))
        assert "Traceback" not in str(error.value)


@pytest.mark.parametrize("degradation", [None, DEGRADATION], ids=["clean", "degraded"])
def test_going_on_gives_what_would_have_come(folder: Path, degradation: dict[str, Any] | None) -> None:
    options = dataset(folder, degradation=degradation)
    batches = MemoryBatches(pairs := PairedImages(options, 2), plan(options), pairs.sizes(), CPU)
    whole, rest = first(batches.since(0)), first(batches.since(4), 2)
    assert all(torch.equal(a[side], b[side]) for side in (0, 1) for a, b in zip(whole[4:], rest, strict=True))


def test_processes_share_the_batch_of_one(folder: Path) -> None:
    whole = plan(dataset(folder, batch_size_per_gpu=10)).batch(4)
    halves = [plan(dataset(folder), rank, 2).batch(4) for rank in (0, 1)]
    for name in ("image", "top", "left", "mirror", "flip", "transpose"):
        np.testing.assert_array_equal(
            getattr(whole, name), np.concatenate([getattr(half, name) for half in halves]), err_msg=name
        )


def test_processes_degrade_as_one(folder: Path) -> None:
    options = dataset(folder, degradation=DEGRADATION)
    pairs = PairedImages(options, 2)
    twice = dataset(folder, degradation=DEGRADATION, batch_size_per_gpu=10)
    whole = first(FileBatches(pairs, plan(twice), 0, CPU).since(3), 3)
    halves = [first(FileBatches(pairs, plan(options, rank, 2), 0, CPU).since(3), 3) for rank in (0, 1)]
    for batch, *parts in zip(whole, *halves, strict=True):
        assert torch.equal(batch[0], torch.cat([lr for lr, _ in parts]))


def test_degradation_touches_the_low_resolution_alone(folder: Path) -> None:
    clean, degraded = (
        first(FileBatches(PairedImages(options, 2), plan(options), 0, CPU).since(0))
        for options in (dataset(folder), dataset(folder, degradation=DEGRADATION))
    )
    unchanged = [
        torch.equal(a, b)
        for ours, theirs in zip(clean, degraded, strict=True)
        for a, b in zip(ours[0], theirs[0], strict=True)
    ]
    assert 0 < sum(unchanged) < len(unchanged) / 2
    assert all(torch.equal(a[1], b[1]) for a, b in zip(clean, degraded, strict=True))
    assert all(lr.is_contiguous(memory_format=torch.channels_last) for lr, _ in degraded)


def test_degradation_is_another_each_time_and_for_each_seed(folder: Path) -> None:
    options = dataset(folder, degradation=DEGRADATION, use_shuffle=False, use_hflip=False, use_rot=False)
    lr = torch.from_numpy(np.stack([texture(16, 16)] * 5)).permute(0, 3, 1, 2)
    found = [plan(options, seed=seed).degraded(lr, iteration) for seed, iteration in ((7, 0), (7, 1), (8, 0))]
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert len({patch.numpy().tobytes() for patch in found[0]}) > 1


@pytest.mark.parametrize("repetitions", [1, 4])
def test_every_image_comes_once_an_epoch(folder: Path, repetitions: int) -> None:
    options = dataset(folder, batch_size_per_gpu=2, dataset_enlarge_ratio=repetitions)
    length = 3 * repetitions
    drawn = np.concatenate([plan(options).batch(iteration).image for iteration in range(2 * length)])
    epochs = drawn.reshape(4, length)
    for epoch in epochs:
        assert sorted(epoch) == sorted([0, 1, 2] * repetitions)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    unshuffled = plan(dataset(folder, use_shuffle=False, batch_size_per_gpu=3)).batch(0)
    assert unshuffled.image.tolist() == [0, 1, 2]


def test_places_and_orientations_cover_all(folder: Path) -> None:
    options = dataset(folder, batch_size_per_gpu=3000)
    patches = plan(options).batch(0)
    first_image = patches.image == 0
    assert set(patches.top[first_image]) == set(range(30 - 16 + 1))
    assert set(patches.left[first_image]) == set(range(24 - 16 + 1))
    turns = set(zip(patches.mirror, patches.flip, patches.transpose, strict=True))
    assert len(turns) == 8
    kept = plan(dataset(folder, use_hflip=False, use_rot=False)).batch(0)
    assert not (kept.mirror | kept.flip | kept.transpose).any()


def test_another_seed_is_another_training(folder: Path) -> None:
    options = dataset(folder, batch_size_per_gpu=50)
    assert (plan(options, seed=1).batch(0).top != plan(options, seed=2).batch(0).top).any()


def test_more_images_than_memory_holds_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = PairedImages(dataset(folder), 2)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(ImageError, match="in_memory: the images take"):
        MemoryBatches(pairs, plan(dataset(folder)), pairs.sizes(), CPU)


def test_two_images_of_one_name_are_refused(folder: Path) -> None:
    Image.fromarray(texture(60, 48)).save(folder / "hr/0.jpg")
    with pytest.raises(ImageError, match=r"0\.jpg: its name without suffix is also that of 0\.png"):
        PairedImages(dataset(folder), 2)
