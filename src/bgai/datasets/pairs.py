"""Pairs of high-resolution images and their low-resolution versions, in folders or LMDB stores."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from torch import Tensor

from bgai.atomic_files import whole_folder
from bgai.datasets.degradation import DegradationModel, degrade_whole
from bgai.datasets.lmdb_store import LmdbImages
from bgai.datasets.matlab_resize import imresize
from bgai.errors import BgaiError, ImageError, listed
from bgai.names import path_within
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
        paths = sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in INPUT_SUFFIXES and path.name[0] != "."
        )
        if not paths:
            raise ImageError(f"{folder}: expected images in this folder, found none")
        self._paths: dict[str, Path] = {}
        for path in paths:
            other = self._paths.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
            if other is not path:
                raise ImageError(f"{other}: its name without suffix is also that of {path.name}; rename one of them")
        self.keys: Sequence[str] = list(self._paths)

    def read(self, key: str) -> RgbImage:
        return read_rgb8(self._paths[key])

    def size(self, key: str) -> Size:
        return read_size(self._paths[key])[:2]


class JoinedImages:
    """The images of several folders or stores; a key is the folder's number, from 1, a slash, and the key there."""

    def __init__(self, parts: Sequence[Images]) -> None:
        self._places = {f"{number}/{key}": (part, key) for number, part in enumerate(parts, 1) for key in part.keys}
        self.keys: Sequence[str] = list(self._places)

    def read(self, key: str) -> RgbImage:
        part, name = self._places[key]
        return part.read(name)

    def size(self, key: str) -> Size:
        part, name = self._places[key]
        return part.size(name)


class PairedImages:
    """High-resolution images and their low-resolution versions.

    Args:
        hr: Folder or LMDB store of the high-resolution images, or several; folders are searched to any depth. Names of
            images in several begin with the number of the folder and a slash.
        lr: Folder or store of the low-resolution images, or as many as `hr` has, in the same order; None makes them by
            MATLAB's bicubic as they are read.
        scale: Of the high resolution over the low one.
        lmdb: Whether `hr` and `lr` are LMDB stores.
        lr_name: Name of the low-resolution image of a high-resolution one, both without suffix, such as `{}x4`.
        only: Names of the images to take; None for all.
        degradation: What is done to whole low-resolution images, each by the seed and its name; None does nothing.
        seed: Of the degradation.

    Raises:
        ImageError: Folders are missing or empty, low-resolution images are missing (all are looked for), or, when a
            pair is read or `sizes` is called, one is damaged or their sizes do not match.
    """

    def __init__(
        self,
        hr: Path | Sequence[Path],
        lr: Path | Sequence[Path] | None,
        scale: int,
        *,
        lmdb: bool = False,
        lr_name: str = "{}",
        only: set[str] | None = None,
        degradation: DegradationModel | None = None,
        seed: int = 0,
    ) -> None:
        self.scale = scale
        self._hr_places, self._lr_places, self._lr_name = _listed_places(hr), _listed_places(lr or ()), lr_name
        self._degradation, self._seed = degradation, seed
        self._hr = open_images(self._hr_places, lmdb)
        self._lr = open_images(self._lr_places, lmdb) if self._lr_places else None
        hr_text, lr_text = (", ".join(map(str, places)) for places in (self._hr_places, self._lr_places))
        self.names = [key for key in self._hr.keys if only is None or key in only]
        if only is not None and len(self.names) < len(only):
            raise ImageError(f"{hr_text}: expected {listed(sorted(only - set(self.names)))} there")
        if not self.names:
            raise ImageError(f"{hr_text}: the list of names is empty")
        if self._lr is not None:
            known = set(self._lr.keys)
            missing = [key for key in map(self.lr_key, self.names) if key not in known]
            if missing:
                raise ImageError(f"{lr_text}: expected {listed(missing)} there")

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
        if self._degradation is not None:
            lr = degrade_whole(lr, self._degradation, self._seed, name)
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
        """Read the pairs of these names and return the messages of those that fail; `progress` is called for each."""
        numbers = {name: index for index, name in enumerate(self.names)}

        def problem(index: int) -> str | None:
            try:
                self.read(numbers[names[index]])
            except BgaiError as error:
                return str(error)
            finally:
                progress()
            return None

        return [message for message in in_parallel(problem, range(len(names))) if message]

    def lr_key(self, name: str) -> str:
        """Name of the low-resolution image of a high-resolution one."""
        folder, slash, stem = name.rpartition("/")
        return folder + slash + self._lr_name.format(stem)

    def _check(self, name: str, hr: Size, lr: Size) -> None:
        expected = hr[0] // self.scale, hr[1] // self.scale
        if lr != expected:
            raise ImageError(
                f"{_place(self._lr_places, self.lr_key(name), ': ')} has {lr[1]} x {lr[0]} pixels; expected"
                f" {expected[1]} x {expected[0]}, 1/{self.scale} of {_place(self._hr_places, name, '/')}"
            )


def make_lr(hr: Path, lr: Path, scale: int, lr_name: str = "{}") -> None:
    """Make the folder `lr` from the images in the folder `hr`, by MATLAB's bicubic, whole or not at all.

    Arguments are those of `PairedImages`.

    Raises:
        ImageError: High-resolution images are missing or damaged.
        OutputError: The folder cannot be written.
    """
    pairs = PairedImages(hr, None, scale, lr_name=lr_name)
    with whole_folder(lr) as partial:

        def make(index: int) -> None:
            path = path_within(partial, f"{pairs.lr_key(pairs.names[index])}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(pairs.read(index)[0]))

        in_parallel(make, range(len(pairs)))


def open_images(places: Sequence[Path], lmdb: bool = False) -> Images:
    """The images of folders, or of LMDB stores.

    Raises:
        ImageError: One is missing, or empty.
    """
    images: list[Images] = [LmdbImages(place) if lmdb else FolderImages(place) for place in places]
    return images[0] if len(images) == 1 else JoinedImages(images)


def _listed_places(places: Path | Sequence[Path]) -> Sequence[Path]:
    return [places] if isinstance(places, Path) else list(places)


def _place(places: Sequence[Path], key: str, joint: str) -> str:
    """An image's folder and its name there."""
    if len(places) == 1:
        return f"{places[0]}{joint}{key}"
    number, _, name = key.partition("/")
    return f"{places[int(number) - 1]}{joint}{name}"


def in_parallel(call: Callable[[int], T], indices: Sequence[int]) -> list[T]:
    # More take much memory: shrinking a photograph of 3 megapixels needs 0.2 GB.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(call, indices))


def read_names(path: Path) -> set[str]:
    """Names without suffix at the beginnings of a text file's lines, as in BasicSR's `meta_info` files."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(f"{path}: cannot be read: {error}") from error
    return {Path(line.split(" ")[0]).with_suffix("").as_posix() for line in lines if line.strip()}
