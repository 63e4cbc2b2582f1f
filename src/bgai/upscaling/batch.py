"""Files and folders in, enlarged files out: what to do is planned first, then done picture by picture."""

from __future__ import annotations

import functools
import math
import os
import string
import tempfile
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from bgai.atomic_files import claimed
from bgai.errors import BgaiError, ImageError, InWorkError, OutputError, UsageError
from bgai.pictures.encoding import OUTPUT_SUFFIXES, Encoding
from bgai.pictures.reading import INPUT_SUFFIXES, read_contents, read_size
from bgai.pictures.size_limit import DEFAULT_MAX_PIXELS
from bgai.remote_files import AnyPath, RemotePath, download, is_plain, list_folder
from bgai.types import PixelProgress
from bgai.upscaling.files import EnlargedFile, make_recipe, upscale_file
from bgai.upscaling.fitting import AnyUpscaler, used_weights
from bgai.upscaling.pages import FilePlan, plan_file, plan_size
from bgai.upscaling.recipe import Recipe, difference, is_replaceable, read_recipe
from bgai.upscaling.sizes import Enlargement, TargetSize

FORMATS = {"png": ".png", "jpeg": ".jpg", "jpg": ".jpg", "webp": ".webp", "tiff": ".tif", "tif": ".tif"}
FORMATS |= {"avif": ".avif", "gif": ".gif"}
NAME_FIELDS = {"stem": "photo", "scale": "4", "width": 1, "height": 1}
"""What names of outputs can hold, with an example of each: the original's name without its ending, how many times as
wide and high the output is, and its size."""
MADE_ELSEWHERE = "another process made the same output meanwhile"
# Of an enlarged picture: what encoders hold of a larger one would not fit beside the memory of tiles.
_TOGETHER_PIXELS = 32_000_000
_OTHER_NAMES = {".jpe": ".jpg", ".jfif": ".jpg"}


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """How outputs are named and written."""

    out: AnyPath | None = None
    """A file for a single picture, or a folder; None puts results beside the inputs."""
    format: str | None = None
    """One of `FORMATS`; None keeps the input's, or takes PNG where that cannot be written."""
    quality: int = 95
    overwrite: bool = False
    max_megapixels: float = DEFAULT_MAX_PIXELS / 1e6
    size: TargetSize | None = None
    """Of outputs; None takes what the scale gives."""
    name: str | None = None
    """Of outputs without the ending, a template as of `str.format` with some of `NAME_FIELDS`; None for `STEM_x4`, or
    in folders the name of the original."""
    keep_dates: bool = False
    """Whether outputs get their originals' times of access and change."""
    metadata: bool = True
    """Whether EXIF, XMP and IPTC are kept; the colour profile and the resolution always are."""
    lossless: bool = False
    background: str | None = None
    lenient: bool = False
    """Whether damaged pictures are enlarged as far as they can be decoded."""
    keep_clear_colours: bool = False
    """As for `bgai.Upscaler.upscale`."""

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise UsageError(f"format {self.format!r}: expected one of {', '.join(FORMATS)}")
        _ = self.encoding  # raises what is wrong with it
        if not 0 < self.max_megapixels * 1e6 < math.inf:
            raise UsageError(f"limit of {self.max_megapixels} megapixels: expected a number above 0")
        if self.name is not None:
            _check_template(self.name)
        named = self.out.suffix.lower() if self.out else ""
        if self.format and named in OUTPUT_SUFFIXES and FORMATS.get(named[1:]) != FORMATS[self.format]:
            raise UsageError(f"{self.out}: does not agree with format {self.format}; leave one of them out")

    @property
    def encoding(self) -> Encoding:
        return Encoding(self.quality, self.lossless, self.background, self.metadata, self.keep_clear_colours)

    @property
    def max_pixels(self) -> int:
        return int(self.max_megapixels * 1e6)


def _check_template(name: str) -> None:
    try:
        fields = {each for _, each, _, _ in string.Formatter().parse(name) if each is not None}
        if unknown := sorted(fields - NAME_FIELDS.keys()):
            known = ", ".join(f"{{{each}}}" for each in NAME_FIELDS)
            raise UsageError(f"name {name!r}: {{{unknown[0]}}} is not known; expected {known}", parameter="name")
        if not name.format(**NAME_FIELDS).strip() or set(name) & {"/", "\\", "\0"}:
            raise UsageError(f"name {name!r}: expected a name, not a path", parameter="name")
    except (ValueError, KeyError, IndexError) as error:
        raise UsageError(
            f"name {name!r}: {error}; expected one like '{{stem}}@{{scale}}x'", parameter="name"
        ) from error


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to enlarge."""

    source: Path
    target: Path
    file: FilePlan
    replaces: str = ""
    """Why an output of that name is made anew, in words."""

    @property
    def plan(self) -> Enlargement:
        """That of the first picture, which is the only one of most files."""
        return self.file.first

    @property
    def pixels(self) -> int:
        """That the networks make of it."""
        return self.file.pixels


@dataclass(frozen=True, slots=True)
class NamedPicture:
    """A picture with the output that it would get."""

    source: AnyPath
    target: AnyPath


@dataclass(slots=True)
class Plan:
    """What a call will do: the jobs, those already done, and those that cannot be done with the reason."""

    jobs: list[Job] = field(default_factory=list)
    finished: list[Path] = field(default_factory=list)
    failures: list[BgaiError] = field(default_factory=list)


def plan_jobs(
    inputs: Sequence[Path],
    scale: int | None,
    settings: OutputSettings,
    recursive: bool = False,
    *,
    weights: Callable[[int], str],
    only: Set[Path] | None = None,
) -> Plan:
    """Find the pictures and name their outputs, looking at headers alone.

    A file becomes `NAME_x4.png` beside it or in `settings.out`; a folder's pictures keep their names in `FOLDER_x4`
    or `settings.out`. For a size, its name stands in place of `x4`, such as `w1920`. An output that exists is finished
    if its recipe (`bgai.upscaling.recipe`) is the one wanted, for which its source is read as a whole. It is made anew
    if another recipe made it from the same picture and nothing was changed in it since. Any other file is a failure,
    unless it may be overwritten. A file that is named several times is enlarged once.

    Args:
        inputs: Files and folders.
        scale: Of the weights; None takes for each picture the scale that `settings.size` needs.
        settings: How outputs are named and written.
        recursive: Whether to look into folders of folders.
        weights: Gives for a scale the hash that `bgai.upscaling.fitting.used_weights` does.
        only: Pictures in the folders, none of them an output; None for all pictures there.

    Raises:
        UsageError: One output was named for several pictures.
    """
    return _Planner(scale, settings, weights, only).plan(inputs, recursive)


def name_outputs(
    inputs: Sequence[AnyPath], scale: int | None, settings: OutputSettings, recursive: bool = False
) -> tuple[list[NamedPicture], list[BgaiError]]:
    """Find pictures here and elsewhere and name their outputs as `plan_jobs` does, without looking into them.

    Args:
        inputs: Files and folders.
        scale: As there.
        settings: As there.
        recursive: As there.

    Returns:
        The pictures, each once, for `plan_job`; and what is wrong with others.

    Raises:
        UsageError: One output was named for several pictures.
    """
    return _Planner(scale, settings, lambda scale: "", None).name(inputs, recursive)


def plan_job(
    source: Path, target: Path, scale: int | None, settings: OutputSettings, weights: Callable[[int], str]
) -> Job | None:
    """Look at one picture's header and at its output, if there is one.

    Args:
        source: The picture.
        target: Its output.
        scale: As for `plan_jobs`.
        settings: As for `plan_jobs`.
        weights: As for `plan_jobs`.

    Returns:
        What is to be done; None if the output is finished.

    Raises:
        ImageError: The picture cannot be read.
        OutputError: The output cannot be, or was made in another way.
    """
    plan = plan_file(source, target, scale, settings.size, settings.encoding, settings.max_pixels, settings.lenient)
    replaces = ""
    if os.path.lexists(target):
        wanted = make_recipe(source, target, plan, weights(plan.first.scale), settings.encoding)
        replaces = difference(read_recipe(target), wanted)
        if not settings.overwrite:
            if not replaces:
                return None
            _check_replaceable(source, target, wanted, replaces)
    return Job(source, target, plan, replaces)


def run_job(
    job: Job,
    upscaler: AnyUpscaler,
    settings: OutputSettings,
    progress: PixelProgress | None = None,
) -> EnlargedFile:
    """Enlarge one picture; the output appears whole or not at all.

    Args:
        job: Of a plan.
        upscaler: What enlarges it.
        settings: Those of the plan.
        progress: Called with the network's output pixels done and those in all.

    Raises:
        InWorkError: Another process makes the same output now.
        ImageError: The picture is damaged.
        OutputError: The output cannot be written.
    """
    with claimed(job.target) as ours:
        if not ours:
            raise InWorkError(f"{job.target}: another process makes it now")
        enlarged = _enlarge(job, upscaler, settings, progress)
        if settings.keep_dates:
            status = job.source.stat()
            os.utime(job.target, ns=(status.st_atime_ns, status.st_mtime_ns))
        return enlarged


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job."""

    job: Job
    result: EnlargedFile | BgaiError | MemoryError
    seconds: float


def run_jobs(
    jobs: Sequence[Job],
    upscaler: AnyUpscaler,
    settings: OutputSettings,
    progress: Callable[[Job, int], None] | None = None,
    *,
    together: int = 1,
) -> Iterator[Outcome]:
    """Enlarge pictures, and yield what became of each in the order of the jobs.

    The tiles of one picture are enlarged at a time, while others are read and written; a large picture has the memory
    to itself. The engine keeps its memory from one picture to the next.

    Args:
        jobs: Of a plan.
        upscaler: What enlarges them.
        settings: Those of the plan.
        progress: Called with a job and how many of its pixels are done, by several threads.
        together: How many pictures are in work at the same time.
    """

    def run(job: Job) -> Outcome:
        start = time.perf_counter()
        try:
            show = functools.partial(_call, progress, job) if progress else None
            result: EnlargedFile | BgaiError | MemoryError = run_job(job, upscaler, settings, show)
        except (BgaiError, MemoryError) as error:
            result = error
        return Outcome(job, result, time.perf_counter() - start)

    running: deque[Future[Outcome]] = deque()
    pool = ThreadPoolExecutor(together)
    try:
        for job in jobs:
            alone = together == 1 or job.pixels > _TOGETHER_PIXELS
            while running and (alone or not upscaler.sharing.keeps_memory or len(running) == together):
                yield running.popleft().result()
            if alone:
                upscaler.release()
            upscaler.sharing.keeps_memory = not alone
            running.append(pool.submit(run, job))
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        upscaler.sharing.keeps_memory = False
        upscaler.release()


def _call(progress: Callable[[Job, int], None], job: Job, done: int, _: int) -> None:
    progress(job, done)


def enlarge_file(
    source: Path,
    target: Path,
    upscaler: AnyUpscaler,
    settings: OutputSettings,
    *,
    overwrite: bool,
    progress: PixelProgress | None = None,
) -> EnlargedFile:
    """As `upscale_file`, whose arguments the settings hold, but for `overwrite`.

    Raises:
        BgaiError: As for `upscale_file`.
    """
    return upscale_file(
        source,
        target,
        size=settings.size,
        upscaler=upscaler,
        quality=settings.quality,
        lossless=settings.lossless,
        background=settings.background,
        keep_clear_colours=settings.keep_clear_colours,
        overwrite=overwrite,
        metadata=settings.metadata,
        max_pixels=settings.max_pixels,
        lenient=settings.lenient,
        progress=progress,
    )


def _enlarge(job: Job, upscaler: AnyUpscaler, settings: OutputSettings, progress: PixelProgress | None) -> EnlargedFile:
    try:
        overwrite = settings.overwrite or _may_replace(job, upscaler, settings)
        enlarged = enlarge_file(job.source, job.target, upscaler, settings, overwrite=overwrite, progress=progress)
    except OutputError:
        # Another process may have the same work.
        wanted = _recipe(job, upscaler, settings)
        if settings.overwrite or not job.target.exists() or read_recipe(job.target) != wanted:
            raise
        return EnlargedFile(job.target, "", (MADE_ELSEWHERE,))
    if job.replaces:
        return replace(enlarged, notes=(f"made anew: the earlier output {job.replaces}", *enlarged.notes))
    return enlarged


def _may_replace(job: Job, upscaler: AnyUpscaler, settings: OutputSettings) -> bool:
    """Whether the output that the plan said is to be made anew may be so still."""
    return bool(job.replaces) and is_replaceable(job.target, _recipe(job, upscaler, settings))


def _recipe(job: Job, upscaler: AnyUpscaler, settings: OutputSettings) -> Recipe:
    with upscaler.sharing.turn:
        used = used_weights(upscaler, job.plan.scale)
    return make_recipe(job.source, job.target, job.file, used, settings.encoding)


class _Planner:
    """Collects the plan of one call."""

    def __init__(
        self, scale: int | None, settings: OutputSettings, weights: Callable[[int], str], only: Set[Path] | None
    ) -> None:
        self._scale, self._settings, self._only = scale, settings, only
        self._weights = functools.cache(weights)
        self._label = str(settings.size or f"x{scale}")
        self._plan = Plan()
        self._named: list[NamedPicture] = []
        self._claimed: dict[AnyPath, AnyPath] = {}  # sources by the outputs that they get
        self._look_at_folder = functools.cache(_look_at_folder)

    def plan(self, inputs: Sequence[Path], recursive: bool) -> Plan:
        self._find(inputs, recursive)
        for item in self._named:
            with self._failing(item.source):
                self._add(item)
        return self._plan

    def name(self, inputs: Sequence[AnyPath], recursive: bool) -> tuple[list[NamedPicture], list[BgaiError]]:
        self._find(inputs, recursive)
        pictures = []
        for item in self._named:
            with self._failing(item.source):
                if not self._named_before(item):
                    self._claimed[self._key(item.target)] = item.source
                    pictures.append(item)
        return pictures, self._plan.failures

    def _find(self, inputs: Sequence[AnyPath], recursive: bool) -> None:
        out = self._settings.out
        single = len(inputs) == 1 and not inputs[0].is_dir()
        if out and out.suffix.lower() in OUTPUT_SUFFIXES and not single and not out.is_dir():
            raise UsageError(f"{out}: one output for several pictures; give a folder", parameter="output")
        for given in inputs:
            with self._failing(given):
                self._name_outputs(given, recursive, single)
        outputs = {self._key(item.target) for item in self._named}
        self._named = [
            item for item in self._named if self._key(item.source) not in outputs or not _is_ours(item.source)
        ]
        self._originals: set[Hashable] = {self._key(item.source) for item in self._named}
        self._originals |= {identity for item in self._named if (identity := _identity(item.source))}

    @contextmanager
    def _failing(self, path: AnyPath) -> Iterator[None]:
        """Whatever a picture raises is a failure of that picture."""
        try:
            yield
        except BgaiError as error:
            self._plan.failures.append(error)
        except OSError as error:
            failure = ImageError(f"{error.filename or path}: cannot be read: {error.strerror or error}")
            failure.__cause__ = error
            self._plan.failures.append(failure)

    def _name_outputs(self, given: AnyPath, recursive: bool, single: bool) -> None:
        out = self._settings.out
        if given.is_dir():
            self._name_folder(given, recursive)
            return
        if out and single and not out.is_dir() and out.suffix:
            if self._settings.name is not None:
                raise UsageError(f"{out} and a template for names: leave one of them out", parameter="name")
            self._named.append(NamedPicture(given, out))
            return
        name = f"{given.stem}_{self._label}" if self._settings.name is None else self._formatted(given)
        self._named.append(NamedPicture(given, (out or given.parent) / (name + self._suffix(given))))

    def _formatted(self, source: AnyPath) -> str:
        """The name that the template makes."""
        with local_copy(source) as file:
            height, width, _ = read_size(file, self._settings.max_pixels)
            plan = plan_size(file, (height, width), self._scale, self._settings.size)
        values = {"width": plan.target[1], "height": plan.target[0], "scale": f"{plan.target[1] / width:.3g}"}
        return (self._settings.name or "").format(stem=source.stem, **values)

    def _name_folder(self, given: AnyPath, recursive: bool) -> None:
        whole = given.resolve()
        if not self._settings.out and not whole.name:
            raise UsageError(f"{given}: no folder can lie beside it; choose one", parameter="output")
        folder = self._settings.out or whole.with_name(f"{whole.name}_{self._label}")
        sources = sorted(self._walk(given, folder, recursive), key=lambda path: path.parts)
        for source in sources if self._only is None else filter(self._wanted, sources):
            with self._failing(source):
                name = source.stem if self._settings.name is None else self._formatted(source)
                target = folder / PurePath(*source.parts[len(given.parts) :]).with_name(name + self._suffix(source))
                self._named.append(NamedPicture(source, target))
        if not sources and self._only is None:
            raise ImageError(
                f"{given}: no pictures in this folder" + ("" if recursive else "; subfolders are left out"),
                parameter="" if recursive else "recursive",
            )

    def _wanted(self, source: AnyPath) -> bool:
        return source in (self._only or ()) and not _is_ours(source)

    def _walk(self, folder: AnyPath, outputs: AnyPath, recursive: bool) -> Iterator[AnyPath]:
        """The pictures in a folder, without those in the folder of outputs; what cannot be read is a failure."""
        with self._failing(folder):
            for path in list_folder(folder) if isinstance(folder, RemotePath) else _entries(folder):
                with self._failing(path):
                    if path.is_dir():
                        if recursive and not _is_link(path) and _identity(path) != _identity(outputs):
                            yield from self._walk(path, outputs, recursive)
                    elif path.suffix.lower() in INPUT_SUFFIXES and not path.name.startswith("."):
                        yield _plain(path)

    def _suffix(self, source: AnyPath) -> str:
        if self._settings.format:
            return FORMATS[self._settings.format]
        suffix = source.suffix.lower()
        # AVIF has no place for the colours of some AVIF files, and an enlarged GIF has more than 256 of them.
        kept = suffix in OUTPUT_SUFFIXES and suffix not in (".avif", ".gif")
        if suffix == ".gif":
            with local_copy(source) as file:
                if read_contents(file, self._settings.max_pixels, lenient=True).animation:
                    return source.suffix
        return source.suffix if kept else _OTHER_NAMES.get(suffix, ".png")

    def _add(self, item: NamedPicture) -> None:
        source, target = item.source, item.target
        if self._named_before(item) or isinstance(source, RemotePath) or isinstance(target, RemotePath):
            return
        job = plan_job(source, target, self._scale, self._settings, self._weights)
        self._claimed[self._key(target)] = source
        if job:
            self._plan.jobs.append(job)
        else:
            self._plan.finished.append(target)

    def _named_before(self, item: NamedPicture) -> bool:
        """Whether the same picture was named before.

        Raises:
            OutputError: Its output is that of another picture, or is an original.
        """
        source, target = item.source, item.target
        key = self._key(target)
        if claimed := self._claimed.get(key):
            if _identity(claimed) != _identity(source):
                raise OutputError(f"{source}: its output {target} would also be that of {claimed}", parameter="output")
            return True
        if key in self._originals or _identity(target) in self._originals:
            raise OutputError(
                f"{source}: its output {target} would replace an original; choose another", parameter="output"
            )
        return False

    def _key(self, path: AnyPath) -> AnyPath:
        """One name for a file that may have several, or may not be there yet."""
        if isinstance(path, RemotePath):
            return path
        folder, ignores_case = self._look_at_folder(path.parent)
        return folder / (path.name.casefold() if ignores_case else path.name)


def _check_replaceable(source: Path, target: Path, wanted: Recipe, differs: str) -> None:
    """Refuse to replace what was not made from this picture, or was changed since."""
    if is_replaceable(target, wanted):
        return
    earlier = read_recipe(target)
    if earlier and earlier.source == wanted.source:
        differs += ", and may have been changed since"
    elif earlier:
        differs += f" than {source}"
    raise OutputError(
        f"{target}: exists already, and {differs}; choose another output or allow overwriting", parameter="overwrite"
    )


@contextmanager
def local_copy(path: AnyPath) -> Iterator[Path]:
    """Lend the file itself, or for the time of the block a copy of one that lies elsewhere.

    Raises:
        ImageError: It cannot be read; or the block raises one that names the copy.
    """
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="bgai-") as folder:
        copy = Path(folder, path.name)
        download(path, copy)
        try:
            yield copy
        except ImageError as error:
            raise ImageError(str(error).replace(str(copy), str(path)), parameter=error.parameter) from error


def _entries(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [folder / name for name in sorted(entry.name for entry in entries)]


def _is_link(path: AnyPath) -> bool:
    return isinstance(path, Path) and path.is_symlink()


def _plain(path: AnyPath) -> AnyPath:
    """The same path.

    Raises:
        ImageError: Its name would lead out of the folder of outputs.
    """
    if isinstance(path, RemotePath) and not is_plain(path):
        raise ImageError(f"{path}: no file here can have this name")
    return path


def _is_ours(path: AnyPath) -> bool:
    """Whether a file is an output, and not an original: `*.png` names both in a second call."""
    with local_copy(path) as file:
        return read_recipe(file) is not None


def _identity(path: AnyPath) -> Hashable:
    """The same for all names of a file or folder, whatever their case where that does not matter; None without it."""
    if isinstance(path, RemotePath):
        return path
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _look_at_folder(folder: Path) -> tuple[Path, bool]:
    """One name of a folder that has several, and whether it takes `a.png` and `A.png` for one name."""
    real = Path(os.path.realpath(folder))
    existing = next((each for each in (real, *real.parents) if each.exists()), real)
    other = existing.with_name(existing.name.swapcase()) if existing.name else existing
    return real, other != existing and _identity(other) == _identity(existing)
