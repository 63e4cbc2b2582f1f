"""Which patches make a batch: the same in one process and in several, another for each seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support import texture

from bgai.datasets.degradation import DegradationModel, JpegModel, NoiseModel
from bgai.training.patches import PatchPlan

SIZES = [(30, 24), (20, 36), (18, 18)]  # low resolution


def plan(batch_size: int = 5, **more: Any) -> PatchPlan:
    return PatchPlan(SIZES, 16, 2, batch_size, **{"seed": 7, **more})


def test_processes_share_the_batch_of_one() -> None:
    whole = plan(10).batch(4)
    halves = [plan(rank=rank, world_size=2).batch(4) for rank in (0, 1)]
    for name in ("image", "top", "left", "mirror", "flip", "transpose"):
        np.testing.assert_array_equal(
            getattr(whole, name), np.concatenate([getattr(half, name) for half in halves]), err_msg=name
        )


def test_degradation_is_another_each_time_and_for_each_seed() -> None:
    model = DegradationModel(noise=NoiseModel((1, 20)), jpeg=JpegModel((25, 96)))
    lr = torch.from_numpy(np.stack([texture(16, 16)] * 5)).permute(0, 3, 1, 2)
    drawn = [plan(degradation=model, seed=seed).degraded(lr, iteration) for seed, iteration in ((7, 0), (7, 1), (8, 0))]
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert len({patch.numpy().tobytes() for patch in drawn[0]}) > 1


@pytest.mark.parametrize("repetitions", [1, 4])
def test_every_image_comes_once_an_epoch(repetitions: int) -> None:
    length = 3 * repetitions
    repeated = plan(2, repetitions=repetitions)
    drawn = np.concatenate([repeated.batch(iteration).image for iteration in range(2 * length)])
    epochs = drawn.reshape(4, length)
    for epoch in epochs:
        assert sorted(epoch) == sorted([0, 1, 2] * repetitions)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert plan(3, shuffle=False).batch(0).image.tolist() == [0, 1, 2]


def test_places_and_orientations_cover_all() -> None:
    patches = plan(3000).batch(0)
    first_image = patches.image == 0
    assert set(patches.top[first_image]) == set(range(30 - 16 + 1))
    assert set(patches.left[first_image]) == set(range(24 - 16 + 1))
    turns = set(zip(patches.mirror, patches.flip, patches.transpose, strict=True))
    assert len(turns) == 8
    kept = plan(mirror=False, rotate=False).batch(0)
    assert not (kept.mirror | kept.flip | kept.transpose).any()


def test_another_seed_is_another_training() -> None:
    assert (plan(50, seed=1).batch(0).top != plan(50, seed=2).batch(0).top).any()
