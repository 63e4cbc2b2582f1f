"""Batches: the same from files and from memory, with and without workers, which end with their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from support import PAIR_SIZES, save_pairs

from bgai.datasets.degradation import BlurModel, DegradationModel, JpegModel, NoiseModel, WebpModel
from bgai.datasets.matlab_resize import imresize
from bgai.datasets.pairs import PairedImages
from bgai.errors import ImageError
from bgai.training.batches import Batch, FileBatches, MemoryBatches
from bgai.training.patches import PatchPlan

CPU = torch.device("cpu")
DEGRADATION = DegradationModel(
    clean=0.2,
    blur=BlurModel((0.3, 1.5), probability=0.5),
    noise=NoiseModel((1, 20), probability=0.5, grey=0.5, poisson=0.5),
    webp=WebpModel((30, 90), probability=0.3),
    jpeg=JpegModel((25, 96), probability=0.8, subsampling="either", twice=0.5),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_pairs(tmp_path)


@pytest.fixture
def pairs(folder: Path) -> PairedImages:
    return PairedImages(folder / "hr", folder / "x2", 2)


def plan(degradation: DegradationModel | None = None, batch_size: int = 5, **more: Any) -> PatchPlan:
    lr_sizes = [(height // 2, width // 2) for height, width in PAIR_SIZES]
    return PatchPlan(lr_sizes, 16, 2, batch_size, degradation=degradation, **{"seed": 7, **more})


def first(batches: Iterator[Batch], count: int = 6) -> list[Batch]:
    return list(islice(batches, count))


def assert_equal(ours: list[Batch], theirs: list[Batch]) -> None:
    for batch, other in zip(ours, theirs, strict=True):
        assert torch.equal(batch[0], other[0])
        assert torch.equal(batch[1], other[1])


def test_patches_show_the_same_place(pairs: PairedImages) -> None:
    for lr, hr in first(FileBatches(pairs, plan(), 0, CPU).since(0)):
        assert (lr.shape, hr.shape) == ((5, 3, 16, 16), (5, 3, 32, 32))
        assert lr.is_contiguous(memory_format=torch.channels_last)
        for small, large in zip(lr, hr, strict=True):
            shrunk = imresize(large.permute(1, 2, 0).mul(255).byte().numpy(), 1 / 2)
            difference = np.abs(shrunk / 255 - small.permute(1, 2, 0).numpy())
            assert difference[3:-3, 3:-3].max() < 0.02  # near its border a patch knows less than the image


degraded_or_not = pytest.mark.parametrize("degradation", [None, DEGRADATION], ids=["clean", "degraded"])


@degraded_or_not
def test_files_and_memory_give_the_same(pairs: PairedImages, degradation: DegradationModel | None) -> None:
    from_files = first(FileBatches(pairs, plan(degradation), 0, CPU).since(3))
    assert_equal(from_files, first(MemoryBatches(pairs, plan(degradation), pairs.sizes(), CPU).since(3)))


@degraded_or_not
def test_workers_change_nothing(pairs: PairedImages, degradation: DegradationModel | None) -> None:
    alone = first(FileBatches(pairs, plan(degradation), 0, CPU).since(2))
    assert_equal(alone, first(FileBatches(pairs, plan(degradation), 2, CPU).since(2)))


def test_a_damaged_image_is_one_error(folder: Path, pairs: PairedImages) -> None:
    for path in (folder / "hr").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:-400])
    for workers in (0, 1):
        with pytest.raises(ImageError, match=r"png: damaged") as error:
            first(FileBatches(pairs, plan(), workers, CPU).since(0))
        assert "Traceback" not in str(error.value)


@degraded_or_not
def test_going_on_gives_what_would_have_come(pairs: PairedImages, degradation: DegradationModel | None) -> None:
    batches = MemoryBatches(pairs, plan(degradation), pairs.sizes(), CPU)
    assert_equal(first(batches.since(0))[4:], first(batches.since(4), 2))


def test_processes_degrade_as_one(pairs: PairedImages) -> None:
    whole = first(FileBatches(pairs, plan(DEGRADATION, 10), 0, CPU).since(3), 3)
    halves = [
        first(FileBatches(pairs, plan(DEGRADATION, rank=rank, world_size=2), 0, CPU).since(3), 3) for rank in (0, 1)
    ]
    for batch, *parts in zip(whole, *halves, strict=True):
        assert torch.equal(batch[0], torch.cat([lr for lr, _ in parts]))


def test_degradation_touches_the_low_resolution_alone(pairs: PairedImages) -> None:
    clean, degraded = (first(FileBatches(pairs, plan(model), 0, CPU).since(0)) for model in (None, DEGRADATION))
    unchanged = [
        torch.equal(a, b)
        for ours, theirs in zip(clean, degraded, strict=True)
        for a, b in zip(ours[0], theirs[0], strict=True)
    ]
    assert 0 < sum(unchanged) < len(unchanged) / 2
    assert all(torch.equal(a[1], b[1]) for a, b in zip(clean, degraded, strict=True))
    assert all(lr.is_contiguous(memory_format=torch.channels_last) for lr, _ in degraded)


def test_more_images_than_memory_holds_are_refused(pairs: PairedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = pairs.sizes()
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(ImageError, match="in_memory: the images take"):
        MemoryBatches(pairs, plan(), sizes, CPU)


LOADING = """
import sys, time
from pathlib import Path
import torch
from bgai.datasets.pairs import PairedImages
from bgai.training.batches import FileBatches
from bgai.training.patches import PatchPlan

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    pairs = PairedImages(folder / "hr", folder / "x2", 2)
    batches = FileBatches(pairs, PatchPlan(pairs.sizes(), 16, 2, 400), 2, torch.device("cpu")).since(0)
    next(batches)
    print("loading", flush=True)
    time.sleep(1000)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends a signal of POSIX")
def test_workers_end_when_their_parent_is_killed(folder: Path) -> None:
    script = folder / "loading.py"
    script.write_text(LOADING)
    process = subprocess.Popen([sys.executable, str(script), str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    time.sleep(3)  # by then, most often, all workers wait for room in their queues
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3  # two workers and what starts them
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=300)
    for child in alive:
        child.kill()
    assert not alive


def test_no_more_workers_than_cores_are_started(folder: Path, recwarn: pytest.WarningsRecorder) -> None:
    pairs = PairedImages(folder / "hr", folder / "x2", 2)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    batches = FileBatches(pairs, PatchPlan(pairs.sizes(), 8, 2, 1), cores + 3, CPU).since(0)
    next(batches)
    assert not recwarn.list
    assert len(multiprocessing.active_children()) <= cores
