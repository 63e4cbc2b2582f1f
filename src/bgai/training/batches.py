"""Batches of patches, read from files ahead of need or cut from images in memory.

Dimensions: B patches in a batch, p x p low-resolution and sp x sp high-resolution pixels in a patch.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bgai.datasets.pairs import PairedImages, in_parallel
from bgai.errors import BgaiError, ImageError
from bgai.evaluation.device_memory import free_bytes
from bgai.free_memory import free_memory
from bgai.processors import usable_cpus
from bgai.training.patches import Patches, PatchPlan
from bgai.types import RgbImage, Size

STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What asks a training to stop; Windows has no SIGHUP."""

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h

Batch = tuple[Tensor, Tensor]
"""B x 3 x p x p and B x 3 x sp x sp, float32 in [0, 1]."""


class Batches(Protocol):
    """A source of batches on the device, from any iteration on."""

    def since(self, iteration: int) -> Iterator[Batch]: ...


class FileBatches:
    """Reads pairs from their files in worker processes, ahead of need."""

    def __init__(self, pairs: PairedImages, plan: PatchPlan, workers: int, device: torch.device) -> None:
        self._dataset = _PatchDataset(pairs, plan)
        self._workers = min(workers, usable_cpus())  # more wait for each other, of which PyTorch warns
        self._device = device

    def since(self, iteration: int) -> Iterator[Batch]:
        if self._workers and os.name == "posix":
            _start_helpers()
        loader: DataLoader[Any] = DataLoader(
            self._dataset,
            batch_size=None,  # an item is a batch
            sampler=range(iteration, 2**62),
            num_workers=self._workers,
            worker_init_fn=_prepare_worker,
            pin_memory=self._device.type == "cuda",
            multiprocessing_context="forkserver" if self._workers and os.name == "posix" else None,
        )
        for item in loader:
            if isinstance(item, BgaiError):
                raise item
            lr, hr = (side.to(self._device, non_blocking=True) for side in item)
            yield to_floats(lr), to_floats(hr)


def _start_helpers() -> None:
    """Start the processes by which Python starts workers, such that a closed terminal does not end them.

    They ignore SIGINT and SIGTERM by themselves, and what is ignored when a process starts stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():  # no other one may set signals
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
        resource_tracker.ensure_running()
    finally:
        signal.signal(signal.SIGHUP, before)


class _PatchDataset(Dataset[Any]):
    """The batch of each iteration as bytes, or the error that it met: loaders make long texts of raised ones."""

    def __init__(self, pairs: PairedImages, plan: PatchPlan) -> None:
        self._pairs, self._plan = pairs, plan

    def __getitem__(self, iteration: int) -> tuple[Tensor, Tensor] | BgaiError:
        patches = self._plan.batch(iteration)
        try:
            sides = [self._cut(patches, index) for index in range(len(patches.image))]
        except BgaiError as error:
            return error
        lr, hr = (torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2) for side in zip(*sides, strict=True))
        return self._plan.degraded(lr, iteration), hr

    def _cut(self, patches: Patches, index: int) -> tuple[RgbImage, RgbImage]:
        lr, hr = self._pairs.read(int(patches.image[index]))
        return self._oriented(lr, patches, index, 1), self._oriented(hr, patches, index, self._plan.scale)

    def _oriented(self, image: RgbImage, patches: Patches, index: int, scale: int) -> RgbImage:
        top, left, side = patches.top[index] * scale, patches.left[index] * scale, self._plan.side * scale
        patch = image[top : top + side, left : left + side]
        patch = patch[:, ::-1] if patches.mirror[index] else patch
        patch = patch[::-1] if patches.flip[index] else patch
        return patch.transpose(1, 0, 2) if patches.transpose[index] else patch


def _prepare_worker(_: int) -> None:
    torch.set_num_threads(1)
    end_with_parent()
    # A terminal sends them to all processes; when to stop is the main one's decision.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def end_with_parent() -> None:
    """End this process when the one that started it has died, whatever it waits for then.

    A parent that is killed says no goodbye: a worker that is about to hand on a batch would wait for ever.
    """
    if sys.platform == "linux":  # where the kernel does it: with a forkserver, when that has ended with the parent
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if (parent := multiprocessing.parent_process()) is not None:

        def watch(parent: BaseProcess = parent) -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


class MemoryBatches:
    """Holds all pairs as bytes in the device's memory and cuts patches there: nothing waits for files.

    Low-resolution images that are to be degraded stay in the computer's memory, where that is done.

    Raises:
        ImageError: They do not fit, or one is damaged.
    """

    def __init__(self, pairs: PairedImages, plan: PatchPlan, sizes: Sequence[Size], device: torch.device) -> None:
        self._plan = plan
        self._device = device
        heights, widths = np.array(sizes).T
        offsets = np.concatenate(([0], np.cumsum(heights * widths)))
        self._offsets, self._widths = offsets[:-1], widths
        squares = (1, plan.scale**2)
        _check_memory(3 * int(offsets[-1]) * sum(squares), device)
        pixels = [torch.empty((int(offsets[-1]) * square, 3), dtype=torch.uint8) for square in squares]

        def load(index: int) -> None:
            for side, image, square in zip(pixels, pairs.read(index), squares, strict=True):
                start, end = offsets[index] * square, offsets[index + 1] * square
                side[start:end] = torch.from_numpy(image).reshape(-1, 3)

        in_parallel(load, range(len(pairs)))
        self._lr, self._hr = pixels[0] if plan.degrades else pixels[0].to(device), pixels[1].to(device)

    def since(self, iteration: int) -> Iterator[Batch]:
        while True:
            numbers = self._numbers(self._plan.batch(iteration))
            lr = self._plan.degraded(self._cut(self._lr, numbers, 1), iteration)
            hr = self._cut(self._hr, numbers, self._plan.scale)
            yield to_floats(lr.to(self._device)), to_floats(hr)
            iteration += 1

    def _numbers(self, patches: Patches) -> Tensor:
        """Places and orientations of the patches packed into one 7 x B tensor, to be copied asynchronously."""
        rows = (self._offsets[patches.image], self._widths[patches.image], patches.top, patches.left)
        numbers = torch.from_numpy(np.stack((*rows, patches.mirror, patches.flip, patches.transpose)))
        if self._device.type == "cuda":
            numbers = numbers.pin_memory()
        return numbers

    def _cut(self, pixels: Tensor, numbers: Tensor, scale: int) -> Tensor:
        """Patches as bytes, B x 3 x side x side, where the pixels are."""
        numbers = numbers.to(pixels.device, non_blocking=True)
        offset, width, top, left, mirror, flip, transpose = numbers.unsqueeze(-1).unbind()  # B, 1 each
        side, stride = self._plan.side * scale, width * scale
        columns = torch.arange(side, device=pixels.device)
        across = torch.where(mirror.bool(), side - 1 - columns, columns)  # B, side
        down = torch.where(flip.bool(), side - 1 - columns, columns) * stride
        # Of the output's pixel (i, j): where its row and its column take it within the patch.
        rows, cols = (torch.where(transpose.bool(), *pair) for pair in ((across, down), (down, across)))
        first = offset * scale**2 + top * scale * stride + left * scale
        index = first.unsqueeze(-1) + rows.unsqueeze(2) + cols.unsqueeze(1)  # B, side, side
        return pixels[index].permute(0, 3, 1, 2)


def _check_memory(needed: int, device: torch.device) -> None:
    free = min(free_memory(), free_bytes(device))
    if needed > free:
        raise ImageError(
            f"in_memory: the images take {needed / 2**30:.1f} GiB, of which {free / 2**30:.1f} are free; set"
            " datasets.train.in_memory: false, after bgai prepare"
        )


def to_floats(pixels: Tensor) -> Tensor:
    """Bytes to float32 in [0, 1], channels-last: the network's convolutions and their gradients are faster so."""
    return pixels.contiguous(memory_format=torch.channels_last).float().div_(255)
