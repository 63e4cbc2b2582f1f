"""Pairs of low- and high-resolution images, and the patches of them that a training sees.

Which patches make the batch of an iteration depends on the seed and the iteration alone: a training that goes on
after a stop, one that reads files and one that holds all images in memory, and several processes that share the
batches of one, see the same.

Dimensions: B patches in a batch, p x p low-resolution and sp x sp high-resolution pixels in a patch.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bgai.atomic_files import whole_folder
from bgai.datasets.degradation import DegradationPlan, degrade_whole
from bgai.datasets.lmdb_store import LmdbImages
from bgai.datasets.matlab_resize import imresize
from bgai.errors import BgaiError, ImageError, listed
from bgai.options.sections import PairedDataset, TrainDataset
from bgai.pictures.reading import INPUT_SUFFIXES, read_rgb8, read_size
from bgai.pictures.writing import encode_png
from bgai.types import RgbImage, Size

Batch = tuple[Tensor, Tensor]
"""B x 3 x p x p and B x 3 x sp x sp, float32 in [0, 1]."""

T = TypeVar("T")


class Images(Protocol):
    """Named images, in a folder or in an LMDB."""

    keys: Sequence[str]

    def read(self, key: str) -> RgbImage: ...

    def size(self, key: str) -> Size: ...


class FolderImages:
    """All pictures below a folder; a key is the path within it, without suffix."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ImageError(f"{folder}: no such folder of images")
        found = sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in INPUT_SUFFIXES and path.name[0] != "."
        )
        if not found:
            raise ImageError(f"{folder}: expected images in this folder, found none")
        self._paths: dict[str, Path] = {}
        for path in found:
            other = self._paths.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
            if other is not path:
                raise ImageError(f"{other}: its name without suffix is also that of {path.name}; rename one of them")
        self.keys: Sequence[str] = list(self._paths)

    def read(self, key: str) -> RgbImage:
        return read_rgb8(self._paths[key])

    def size(self, key: str) -> Size:
        return read_size(self._paths[key])[:2]


class PairedImages:
    """High-resolution images and their low-resolution versions.

    Args:
        options: Where they lie.
        scale: Of the high resolution over the low one.
        only: Names of the images to take; None for all.
        seed: Degrade whole low-resolution images as the options say, each by this seed and its name; None leaves them
            as they are.

    Raises:
        ImageError: Folders are missing or empty, low-resolution images are missing (all are looked for), or, when a
            pair is read or `sizes` is called, one is damaged or their sizes do not match.
    """

    def __init__(
        self, options: PairedDataset, scale: int, only: set[str] | None = None, seed: int | None = None
    ) -> None:
        self.scale = scale
        self._seed = seed
        self._options = options
        self._hr = _open_images(options, options.dataroot_gt)
        self._lr = None if options.dataroot_lq is None else _open_images(options, options.dataroot_lq)
        self.names = [key for key in self._hr.keys if only is None or key in only]
        if only is not None and len(self.names) < len(only):
            raise ImageError(f"{options.dataroot_gt}: expected {listed(sorted(only - set(self.names)))} there")
        if not self.names:
            raise ImageError(f"{options.dataroot_gt}: the list of names is empty")
        if self._lr is not None:
            known = set(self._lr.keys)
            missing = [key for key in map(self.lr_key, self.names) if key not in known]
            if missing:
                raise ImageError(f"{options.dataroot_lq}: expected {listed(missing)} there")

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> tuple[RgbImage, RgbImage]:
        """The pair as H x W x 3 and sH x sW x 3; the high-resolution image is cut to a multiple of the scale."""
        name = self.names[index]
        hr = self._hr.read(name)
        height, width = (side - side % self.scale for side in hr.shape[:2])
        hr = np.ascontiguousarray(hr[:height, :width])
        lr = imresize(hr, 1 / self.scale) if self._lr is None else self._lr.read(self.lr_key(name))
        self._check(name, (height, width), (lr.shape[0], lr.shape[1]))
        if self._seed is not None and self._options.degradation is not None:
            lr = degrade_whole(lr, self._options.degradation, self._seed, name)
        return lr, hr

    def size(self, index: int) -> Size:
        """Height and width of the low-resolution image, from the headers of both."""
        name = self.names[index]
        height, width = self._hr.size(name)
        size = height // self.scale, width // self.scale
        if self._lr is not None:
            self._check(name, (height, width), self._lr.size(self.lr_key(name)))
        return size

    def sizes(self) -> list[Size]:
        return in_parallel(self.size, range(len(self)))

    def problems(self, names: Sequence[str], progress: Callable[[], None]) -> list[str]:
        """What keeps pairs from being read, found by reading those of these names; `progress` hears of each."""
        numbers = {name: index for index, name in enumerate(self.names)}

        def problem(index: int) -> str | None:
            try:
                self.read(numbers[names[index]])
            except BgaiError as error:
                return str(error)
            finally:
                progress()
            return None

        return [found for found in in_parallel(problem, range(len(names))) if found]

    def lr_key(self, name: str) -> str:
        """The low-resolution image's name of a high-resolution one's."""
        folder, slash, stem = name.rpartition("/")
        return folder + slash + self._options.filename_tmpl.format(stem)

    def _check(self, name: str, hr: Size, lr: Size) -> None:
        expected = hr[0] // self.scale, hr[1] // self.scale
        if lr != expected:
            raise ImageError(
                f"{self._options.dataroot_lq}: {self.lr_key(name)} has {lr[1]} x {lr[0]} pixels; expected"
                f" {expected[1]} x {expected[0]}, 1/{self.scale} of {self._options.dataroot_gt / name}"
            )


def make_lr(options: PairedDataset, scale: int) -> None:
    """Make the folder of low-resolution images that an option file names, by MATLAB's bicubic, whole or not at all.

    Raises:
        ImageError: High-resolution images are missing or damaged.
        OutputError: The folder cannot be written.
    """
    assert options.dataroot_lq is not None
    pairs = PairedImages(options.model_copy(update={"dataroot_lq": None}), scale)
    with whole_folder(options.dataroot_lq) as partial:

        def make(index: int) -> None:
            path = partial / f"{pairs.lr_key(pairs.names[index])}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(pairs.read(index)[0]))

        in_parallel(make, range(len(pairs)))


def _open_images(options: PairedDataset, path: Path) -> Images:
    return LmdbImages(path) if options.io_backend.type == "lmdb" else FolderImages(path)


def in_parallel(call: Callable[[int], T], indices: Sequence[int]) -> list[T]:
    # More take much memory: shrinking a photograph of 3 megapixels needs 0.2 GB.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(call, indices))


def read_names(path: Path) -> set[str]:
    """Names without suffix at the beginnings of a text file's lines, as in BasicSR's `meta_info` files."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"{path}: cannot be read: {error}") from None
    return {Path(line.split(" ")[0]).with_suffix("").as_posix() for line in lines if line.strip()}


@dataclass(frozen=True, slots=True)
class Patches:
    """Where the patches of one batch lie, an entry each: arrays of B."""

    image: NDArray[np.int64]
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    """Of the low-resolution patch."""
    mirror: NDArray[np.bool_]
    flip: NDArray[np.bool_]
    transpose: NDArray[np.bool_]
    """Left to right, top to bottom, and along the diagonal, in this order."""


class PatchPlan:
    """Draws patches: every image once in random order, at random places and in random orientations."""

    def __init__(
        self, options: TrainDataset, scale: int, sizes: Sequence[Size], seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.scale = scale
        self.side = options.gt_size // scale
        self._options = options
        self._sizes = np.array(sizes)
        self._seed = seed
        self._rank, self._whole = rank, world_size * options.batch_size_per_gpu
        first = rank * options.batch_size_per_gpu
        self._degradation = None if options.degradation is None else DegradationPlan(options.degradation, seed, first)
        self._orders: dict[int, NDArray[np.int64]] = {}

    def batch(self, iteration: int) -> Patches:
        """This process's part of the batch of an iteration, counted from 0."""
        random = np.random.default_rng((self._seed, 0, iteration))
        image = self._images(iteration)
        room = self._sizes[image] - self.side + 1
        top, left = (random.random((self._whole, 2)) * room).astype(np.int64).T
        coins = random.random((3, self._whole)) < 0.5
        allowed = (self._options.use_hflip, self._options.use_rot, self._options.use_rot)
        mirror, flip, transpose = (coin & use for coin, use in zip(coins, allowed, strict=True))
        B = self._options.batch_size_per_gpu
        ours = slice(self._rank * B, (self._rank + 1) * B)
        return Patches(image[ours], top[ours], left[ours], mirror[ours], flip[ours], transpose[ours])

    @property
    def degrades(self) -> bool:
        return self._degradation is not None

    def degraded(self, lr: Tensor, iteration: int) -> Tensor:
        """What the network sees of the low-resolution patches of an iteration: bytes in memory, B x 3 x p x p."""
        if self._degradation is None:
            return lr
        patches = self._degradation.degrade(lr.permute(0, 2, 3, 1).numpy(), iteration)
        return torch.from_numpy(patches).permute(0, 3, 1, 2)

    def _images(self, iteration: int) -> NDArray[np.int64]:
        epoch_length = len(self._sizes) * self._options.dataset_enlarge_ratio
        places = np.arange(iteration * self._whole, (iteration + 1) * self._whole)
        epochs = np.unique(places // epoch_length).tolist()
        self._orders = {epoch: self._order(epoch) for epoch in epochs}
        return np.concatenate(
            [self._orders[epoch][places[places // epoch_length == epoch] % epoch_length] for epoch in epochs]
        )

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch in self._orders:
            return self._orders[epoch]
        images = np.tile(np.arange(len(self._sizes)), self._options.dataset_enlarge_ratio)
        if self._options.use_shuffle:
            np.random.default_rng((self._seed, 1, epoch)).shuffle(images)
        return images


class Batches(Protocol):
    """A source of batches on the device, from any iteration on."""

    def since(self, iteration: int) -> Iterator[Batch]: ...


class FileBatches:
    """Reads pairs from their files in worker processes, ahead of need."""

    def __init__(self, pairs: PairedImages, plan: PatchPlan, workers: int, device: torch.device) -> None:
        self._dataset = _PatchDataset(pairs, plan)
        self._workers = workers
        self._device = device

    def since(self, iteration: int) -> Iterator[Batch]:
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
    # A terminal sends them to all processes; when to stop is the main one's decision.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


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
        """What says where the patches lie: 7 x B, to be transferred at once, which nothing waits for."""
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
    free = psutil.virtual_memory().available
    if device.type == "cuda":
        free = min(free, torch.cuda.mem_get_info(device)[0])
    if needed > free:
        raise ImageError(
            f"in_memory: the images take {needed / 2**30:.1f} GiB, of which {free / 2**30:.1f} are free; set"
            " datasets.train.in_memory: false, after bgai prepare"
        )


def to_floats(pixels: Tensor) -> Tensor:
    """Bytes to float32 in [0, 1], channels-last: the network's convolutions and their gradients are faster so."""
    return pixels.contiguous(memory_format=torch.channels_last).float().div_(255)
