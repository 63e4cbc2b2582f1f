"""Sub-images for training: HR images cut into overlapping squares, and the LR squares that belong to them."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.atomic_files import remove_leftovers, whole_or_nothing
from bgai.datasets.lmdb_store import pack_lmdb, require_lmdb
from bgai.datasets.matlab_resize import imresize
from bgai.errors import ImageError, OutputError, UsageError, listed
from bgai.network.config import SCALES
from bgai.pictures.reading import INPUT_SUFFIXES, read_rgb8, read_size
from bgai.pictures.writing import encode_png
from bgai.types import Progress

RECORD = ".bgai-prepare.json"
"""Says in an output folder what it was made of, so that nothing else is mixed into it."""
# More take much memory: shrinking a photograph of 3 megapixels needs 0.2 GB.
DEFAULT_WORKERS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class PrepareSettings:
    """What is cut, how, and where to."""

    hr: Path
    """Folder of HR images, called NAME_HR or NAME, searched to any depth."""
    scales: tuple[int, ...] = SCALES
    lr: Path | None = None
    """Folder that holds LR images in X2, X3 and X4; None takes NAME_LR_bicubic beside `hr`, as far as it is there."""
    output: Path | None = None
    """Folder for the folders of sub-images; None puts them beside `hr`."""
    crop: int = 480
    """Side of an HR sub-image in pixels."""
    step: int = 240
    """Pixels from one HR sub-image to the next."""
    workers: int = DEFAULT_WORKERS
    """HR images in work at a time."""
    lmdb: bool = False
    """Whether every folder of sub-images is packed into an LMDB store as well."""

    def __post_init__(self) -> None:
        for scale in self.scales:
            if scale not in SCALES:
                raise UsageError(f"scale {scale}: expected one of 2, 3 and 4")
        for name in ("crop", "step"):
            value = getattr(self, name)
            if value < 1 or value % self.multiple:
                raise UsageError(f"{name} {value}: expected a multiple of all scales, which is one of {self.multiple}")
        if self.workers < 1:
            raise UsageError(f"workers {self.workers}: expected at least 1")

    @property
    def multiple(self) -> int:
        """The sides of HR images are cut to multiples of this, so that one set of them serves all scales."""
        return math.lcm(*self.scales)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a call did."""

    folders: tuple[Path, ...]
    """The folders of sub-images, then the stores."""
    cut: int
    """HR images cut by this call."""
    finished: int
    """HR images cut by earlier calls."""
    failures: tuple[ImageError, ...]
    """One for each HR image that could not be cut because it or one of its LR images is damaged."""


def prepare(settings: PrepareSettings, progress: Progress | None = None) -> Prepared:
    """Cut HR images and their LR images into sub-images; called again, it goes on where it was stopped.

    Sub-images start every `step` pixels, and one more ends at the edge where something is left over; a side shorter
    than `crop` stays whole. Those of 0001.png are 0001_s001.png and so on, row by row, at every scale, in folders like
    those of the HR images. HR images are
    first cut, right and bottom, to multiples of all scales; LR images that are not given are made of them, by MATLAB's
    `imresize`.

    Args:
        progress: Called with the name of the folder or store in work, the images done, and those in all.

    Raises:
        ImageError: LR images are missing or of a size that does not fit, or two images have one name.
        OutputError: An output folder holds something else, or the file system refuses.
        EngineError: The package lmdb is needed and missing.

    Source: BasicSR's preparation of DIV2K.
    """
    report = progress or (lambda name, done, total: None)
    outputs = _find_outputs(settings)
    existing = {output.folder: _existing(output) for output in outputs}
    if settings.lmdb:
        require_lmdb()
        _check_stores(outputs)
    photos, failures = _measure(outputs, settings.multiple)
    todo = [rest for photo in photos if (rest := _without_finished(photo, existing, settings)).outputs]
    damaged = []
    if todo:
        _begin(outputs)
        damaged = _cut_all(todo, settings, partial(report, settings.hr.name), len(photos))
    folders = [output.folder for output in outputs]
    if settings.lmdb and not failures + damaged:
        folders += [_pack(output, report) for output in outputs]
    return Prepared(
        tuple(folders), len(todo) - len(damaged), len(photos) - len(todo), tuple(sorted(failures + damaged, key=str))
    )


def sub_image_name(stem: str) -> str:
    """A stem without the scale that LR files have in theirs."""
    return re.sub("x[2348]$", "", stem)


def sub_image_starts(length: int, crop: int, step: int) -> list[int]:
    """Where sub-images start along a side of `length` pixels."""
    if length <= crop:
        return [0]
    starts = list(range(0, length - crop + 1, step))
    if starts[-1] + crop < length:
        starts.append(length - crop)
    return starts


@dataclass(frozen=True, slots=True)
class _Output:
    """A folder of sub-images and, by the name of the sub-images, what they are cut from."""

    folder: Path
    store: Path
    scale: int
    """1 for HR."""
    sources: Mapping[str, Path]
    given: bool
    """Whether the sources have this scale; else they are HR images and have to be shrunk."""
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Photo:
    """An HR image, its size when cut to a multiple of all scales, and the folders that want sub-images of it."""

    name: str
    height: int
    width: int
    outputs: tuple[_Output, ...]


def _find_outputs(settings: PrepareSettings) -> list[_Output]:
    """HR, then LR by scale."""
    whole = settings.hr if settings.hr.name not in ("", "..") else settings.hr.resolve()
    root = settings.output or whole.parent
    lr_name = f"{whole.name.removesuffix('_HR')}_LR_bicubic"
    hr = _images(settings.hr)
    outputs = [_output(settings, root / f"{whole.name}_sub", root / f"{whole.name}_sub.lmdb", 1, hr, given=True)]
    for scale in sorted(set(settings.scales)):
        folder, store = root / lr_name / f"X{scale}_sub", root / f"{lr_name}_X{scale}_sub.lmdb"
        lr_folder = (settings.lr or whole.parent / lr_name) / f"X{scale}"
        given = settings.lr is not None or lr_folder.is_dir()
        outputs.append(_output(settings, folder, store, scale, _images(lr_folder) if given else hr, given))
    missing = [
        f"{source.relative_to(settings.hr)} at ×{output.scale}"
        for output in outputs
        for name, source in hr.items()
        if name not in output.sources
    ]
    if missing:
        raise ImageError(f"{settings.hr}: no LR image for {listed(missing)}")
    return outputs


def _images(folder: Path) -> dict[str, Path]:
    """The pictures below a folder, but for those that an earlier call made, by the name of their sub-images."""
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder of images")
    made = {record.parent for record in folder.rglob(RECORD)}
    images: dict[str, Path] = {}
    clashes = []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in place.parts)
        if hidden or path.suffix.lower() not in INPUT_SUFFIXES or not path.is_file() or made & set(path.parents):
            continue
        first = images.setdefault(_name_of(place), path)
        if first != path:
            clashes.append(f"{first.relative_to(folder)} and {place}")
    if clashes:
        raise ImageError(f"{folder}: sub-images would have the same names: {listed(clashes)}; rename or remove one")
    if not images:
        raise ImageError(f"{folder}: no pictures in this folder")
    return images


def _name_of(place: PurePath) -> str:
    """What the sub-images of a file are called after: its path within its folder."""
    return sub_image_name(place.with_suffix("").as_posix())


def _output(
    settings: PrepareSettings, folder: Path, store: Path, scale: int, sources: Mapping[str, Path], given: bool
) -> _Output:
    facts = {(PurePath(name).parent / path.name).as_posix(): path.stat() for name, path in sources.items()}
    record = {
        "crop": settings.crop,
        "step": settings.step,
        "sides cut to multiples of": settings.multiple,
        "scale": scale,
        "images": "given" if given else "made from HR",
        "sources": {name: [fact.st_size, fact.st_mtime_ns] for name, fact in facts.items()},
    }
    return _Output(folder, store, scale, sources, given, record)


def _existing(output: _Output) -> set[str]:
    """Names of the files in an output folder, all of which this call would have made too.

    Sources may be new, and those without sub-images may have changed: so a damaged one can be replaced.

    Raises:
        OutputError: The folder holds something else.
    """
    folder = output.folder
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    names = {path.relative_to(folder).as_posix() for path in files}
    if not names:
        return names
    advice = "remove it, or choose another --output"
    earlier = _read_record(folder)
    if earlier is None:
        raise OutputError(f"{folder}: is not empty, and not what bgai prepare made; {advice}")
    sources = output.record["sources"]
    for key in output.record.keys() - {"sources"}:
        if earlier.get(key) != output.record[key]:
            raise OutputError(f"{folder}: was made with {key}: {earlier.get(key)}, not {output.record[key]}; {advice}")
    changed = [
        name
        for name, fingerprint in earlier["sources"].items()
        if sources.get(name) != fingerprint and _file_name(_name_of(PurePath(name)), 1) in names
    ]
    if changed:
        raise OutputError(f"{folder}: was made from other files: {listed(changed)} changed or gone; {advice}")
    return names


def _check_stores(outputs: Sequence[_Output]) -> None:
    for output in outputs:
        if output.store.exists() and _read_record(output.store) != output.record:
            raise OutputError(f"{output.store}: was packed from other images; remove it to have it packed again")


def _read_record(folder: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("sources"), dict) else None


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    with whole_or_nothing(folder / RECORD) as partial_file:
        partial_file.write_text(json.dumps(record), encoding="utf-8")


def _measure(outputs: Sequence[_Output], multiple: int) -> tuple[list[_Photo], list[ImageError]]:
    """Read all headers; those that cannot be read are the second of what is returned."""
    photos, failures, problems = [], [], []
    for name, source in outputs[0].sources.items():
        try:
            height, width, _ = read_size(source)
            problems += list(_misfits(name, height, width, outputs))
        except ImageError as error:
            failures.append(error)
            continue
        if min(height, width) < multiple:
            problems.append(f"{source} is {width} x {height}, too small for all scales: expected {multiple} a side")
        photos.append(_Photo(name, height - height % multiple, width - width % multiple, tuple(outputs)))
    if problems:
        raise ImageError(listed(problems, "; "))
    return photos, failures


def _misfits(name: str, height: int, width: int, outputs: Sequence[_Output]) -> Iterator[str]:
    """Complaints about LR images that do not belong to an HR image of this size."""
    for output in outputs:
        if not output.given:
            continue
        lr_height, lr_width, _ = read_size(output.sources[name])
        for small, large in ((lr_height, height), (lr_width, width)):
            if small not in (large // output.scale, math.ceil(large / output.scale)):
                yield (
                    f"{output.sources[name]} is {lr_width} x {lr_height}, expected {width // output.scale} x"
                    f" {height // output.scale} for {outputs[0].sources[name]} of {width} x {height}"
                )
                break


def _without_finished(photo: _Photo, existing: Mapping[Path, Set[str]], settings: PrepareSettings) -> _Photo:
    """The photo with only those folders in which sub-images of it are missing."""
    wanting = []
    for output in photo.outputs:
        files = {file for file, _, _ in _squares(photo, output.scale, settings)}
        if not files <= existing[output.folder]:
            wanting.append(output)
    return replace(photo, outputs=tuple(wanting))


def _squares(photo: _Photo, scale: int, settings: PrepareSettings) -> Iterator[tuple[str, int, int]]:
    """File names, tops and lefts of a photo's sub-images at a scale."""
    crop, step = settings.crop // scale, settings.step // scale
    tops = sub_image_starts(photo.height // scale, crop, step)
    lefts = sub_image_starts(photo.width // scale, crop, step)
    for number, (top, left) in enumerate(product(tops, lefts), 1):
        yield _file_name(photo.name, number), top, left


def _file_name(name: str, number: int) -> str:
    return f"{name}_s{number:03d}.png"


def _begin(outputs: Sequence[_Output]) -> None:
    for output in outputs:
        _write_record(output.folder, output.record)
        remove_leftovers(output.folder)


def _cut_all(
    photos: Sequence[_Photo], settings: PrepareSettings, progress: Callable[[int, int], None], total: int
) -> list[ImageError]:
    """Cut photos side by side and return what was wrong with the damaged ones."""
    damaged = []
    executor = ThreadPoolExecutor(settings.workers)
    try:
        futures = [executor.submit(_cut, photo, settings) for photo in photos]
        for done, future in enumerate(as_completed(futures), total - len(photos) + 1):
            try:
                future.result()
            except ImageError as error:
                damaged.append(error.with_traceback(None))  # which would keep the decoded images
            progress(done, total)
    finally:
        executor.shutdown(cancel_futures=True)
    return damaged


def _cut(photo: _Photo, settings: PrepareSettings) -> None:
    """Write what is missing of a photo; nothing is, anywhere, if one of its images is damaged."""
    read = cache(read_rgb8)  # HR may be wanted at several scales
    images = [_image(photo, output, read) for output in photo.outputs]
    for output, image in zip(photo.outputs, images, strict=True):
        side = settings.crop // output.scale
        for file, top, left in _squares(photo, output.scale, settings):
            with whole_or_nothing(output.folder / file) as partial_file:
                partial_file.write_bytes(encode_png(image[top : top + side, left : left + side]))


def _image(photo: _Photo, output: _Output, read: Callable[[Path], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The whole image at an output's scale, cut to the size that goes with the other scales."""
    image = read(output.sources[photo.name])
    if output.given:
        return image[: photo.height // output.scale, : photo.width // output.scale]
    return imresize(image[: photo.height, : photo.width], 1 / output.scale)


def _pack(output: _Output, report: Progress) -> Path:
    if not output.store.exists():
        pack_lmdb(output.folder, output.store, partial(report, output.store.name))
        _write_record(output.store, output.record)
    return output.store
