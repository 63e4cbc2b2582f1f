"""Which patches of which images make the batch of an iteration.

It depends on the seed and the iteration alone: a training that goes on after a stop, one that reads files and one that
holds all images in memory, and several processes that share one batch, see the same patches.

Dimensions: B patches in a batch, p x p low-resolution and sp x sp high-resolution pixels in a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bgai.datasets.degradation import DegradationModel, DegradationPlan
from bgai.types import Size


@dataclass(frozen=True, slots=True)
class Patches:
    """Places and orientations of the patches of one batch: arrays of B."""

    image: NDArray[np.int64]
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    """Of the low-resolution patch."""
    mirror: NDArray[np.bool_]
    flip: NDArray[np.bool_]
    transpose: NDArray[np.bool_]
    """Left to right, top to bottom, and along the diagonal, in this order."""


class PatchPlan:
    """Draws patches: every image once in random order, at random places and in random orientations.

    Args:
        sizes: Height and width of each low-resolution image.
        side: Of a low-resolution patch, in pixels.
        scale: Of the high resolution over the low one.
        batch_size: Patches of one process.
        seed: Of the training.
        rank: Number of this process.
        world_size: Number of processes.
        mirror: Mirror patches from left to right, half of the time.
        rotate: Flip them from top to bottom, and along the diagonal, each half of the time.
        shuffle: Draw the images in random order, instead of that of `sizes`.
        repetitions: Of each image in an epoch.
        degradation: What is done to the low-resolution patches; None does nothing.
    """

    def __init__(
        self,
        sizes: Sequence[Size],
        side: int,
        scale: int,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        mirror: bool = True,
        rotate: bool = True,
        shuffle: bool = True,
        repetitions: int = 1,
        degradation: DegradationModel | None = None,
    ) -> None:
        self.scale = scale
        self.side = side
        self._sizes = np.array(sizes)
        self._batch_size = batch_size
        self._seed = seed
        self._rank, self._whole = rank, world_size * batch_size
        self._allowed = (mirror, rotate, rotate)
        self._shuffle, self._repetitions = shuffle, repetitions
        self._degradation = None if degradation is None else DegradationPlan(degradation, seed, rank * batch_size)
        self._orders: dict[int, NDArray[np.int64]] = {}

    def batch(self, iteration: int) -> Patches:
        """This process's part of the batch of an iteration, counted from 0."""
        random = np.random.default_rng((self._seed, 0, iteration))
        image = self._images(iteration)
        room = self._sizes[image] - self.side + 1
        top, left = (random.random((self._whole, 2)) * room).astype(np.int64).T
        coins = random.random((3, self._whole)) < 0.5
        mirror, flip, transpose = (coin & use for coin, use in zip(coins, self._allowed, strict=True))
        B = self._batch_size
        ours = slice(self._rank * B, (self._rank + 1) * B)
        return Patches(image[ours], top[ours], left[ours], mirror[ours], flip[ours], transpose[ours])

    @property
    def degrades(self) -> bool:
        return self._degradation is not None

    def degraded(self, lr: Tensor, iteration: int) -> Tensor:
        """The low-resolution patches of an iteration, degraded; B x 3 x p x p, bytes in the computer's memory."""
        if self._degradation is None:
            return lr
        patches = self._degradation.degrade(lr.permute(0, 2, 3, 1).numpy(), iteration)
        return torch.from_numpy(patches).permute(0, 3, 1, 2)

    def _images(self, iteration: int) -> NDArray[np.int64]:
        epoch_length = len(self._sizes) * self._repetitions
        places = np.arange(iteration * self._whole, (iteration + 1) * self._whole)
        epochs = np.unique(places // epoch_length).tolist()
        self._orders = {epoch: self._order(epoch) for epoch in epochs}
        return np.concatenate(
            [self._orders[epoch][places[places // epoch_length == epoch] % epoch_length] for epoch in epochs]
        )

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch in self._orders:
            return self._orders[epoch]
        images = np.tile(np.arange(len(self._sizes)), self._repetitions)
        if self._shuffle:
            np.random.default_rng((self._seed, 1, epoch)).shuffle(images)
        return images
