"""What is enlarged of a file, page by page and frame by frame."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bgai.errors import ImageError, UsageError
from bgai.pictures.encoding import ANIMATED_SUFFIXES, Encoding, check_output, fit_alpha
from bgai.pictures.reading import TIFF_SUFFIXES, Picture, read_contents, read_frames, read_picture
from bgai.pictures.writing import PagesWriter, PictureWriter
from bgai.types import PixelProgress, Size
from bgai.upscaling.fitting import AnyUpscaler, FittingUpscalers, UpscalersByScale
from bgai.upscaling.reduction import reduce_strips
from bgai.upscaling.sizes import Enlargement, TargetSize, plan_enlargement
from bgai.upscaling.upscaler import Upscaler


@dataclass(frozen=True, slots=True)
class FilePlan:
    """How large the pictures of a file become."""

    pages: tuple[Enlargement, ...]
    frames: int = 1
    """How many there are of each page: an animation has several of its only one."""

    @property
    def first(self) -> Enlargement:
        return self.pages[0]

    @property
    def pixels(self) -> int:
        """That the networks make of it."""
        return self.frames * sum(math.prod(page.whole) for page in self.pages)

    @property
    def reduced_to(self) -> str:
        """Width and height that what the networks made is reduced to, of each kind of page; empty if it is not."""
        sizes = ("{1}x{0}".format(*page.target) for page in self.pages)
        return " ".join(dict.fromkeys(sizes)) if any(page.target != page.whole for page in self.pages) else ""


def plan_file(
    source: Path,
    target: Path,
    scale: int | None,
    wanted: TargetSize | None,
    encoding: Encoding,
    max_pixels: int,
    lenient: bool,
) -> FilePlan:
    """Decide how large each picture of a file becomes, from headers alone.

    The format of `target` says what is enlarged: frames and pages where it can hold them, else the first picture.

    Raises:
        ImageError: The file cannot be read, or the size that is wanted is out of reach.
        OutputError: The format cannot hold the result.
    """
    contents = read_contents(source, max_pixels, lenient=lenient)
    suffix = target.suffix.lower()
    if suffix not in (ANIMATED_SUFFIXES if contents.animation else TIFF_SUFFIXES):
        contents = contents.first
    pages = tuple(plan_size(source, size, scale, wanted) for size in contents.pages)
    for page in pages:
        check_output(target, *page.target, encoding)
    return FilePlan(pages, contents.frames)


def plan_size(source: Path, size: Size, scale: int | None, wanted: TargetSize | None) -> Enlargement:
    """As `plan_enlargement`, for a picture file of a size.

    Raises:
        ImageError: The size that is wanted is out of reach.
    """
    try:
        return plan_enlargement(size, scale, wanted)
    except UsageError as error:
        raise ImageError(f"{source}: {error}", parameter=error.parameter) from error


class FileEnlarger:
    """Enlarges the pictures of one file.

    Args:
        source: The file.
        target: The output, for its format and the disk that it lies on.
        plan: Of `plan_file`.
        upscaler: What enlarges.
        encoding: As for `bgai.pictures.writing.write_picture`.
        max_pixels: Refuse larger pictures.
        lenient: As for `read_picture`; what is damaged behind the first picture is left out.
        progress: Called with the network's output pixels done and those in all.
    """

    def __init__(
        self,
        source: Path,
        target: Path,
        plan: FilePlan,
        upscaler: AnyUpscaler,
        encoding: Encoding,
        max_pixels: int,
        lenient: bool,
        progress: PixelProgress | None,
    ) -> None:
        self._source, self._target, self._plan = source, target, plan
        self._upscaler, self._encoding = upscaler, encoding
        self._max_pixels, self._lenient, self._progress = max_pixels, lenient, progress
        self._before = 0
        self._notes: dict[str, None] = {}
        self.weights = ""
        """Which were picked for the first page, and why; empty where there was nothing to choose from."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be kept as it was, each once."""
        return tuple(self._notes)

    def read(self, page: int) -> Picture:
        """A page of the file, or the first frame of an animation."""
        picture = read_picture(self._source, self._max_pixels, self._target.parent, lenient=self._lenient, page=page)
        if not self._encoding.metadata:
            picture = picture.with_colours_alone()
        self._notes |= dict.fromkeys(picture.notes)
        return fit_alpha(picture, self._target, self._encoding.background)

    def write(self, first: Picture, output: PagesWriter) -> None:
        """Enlarge all pages."""
        picture = first
        del first  # each page is the only one in memory
        for number, page in enumerate(self._plan.pages):
            if number:
                del picture
                try:
                    picture = self.read(number)
                except ImageError as error:
                    if not self._lenient:
                        raise
                    self._note_damage(error, "pages", number, len(self._plan.pages))
                    return
            self._write_page(picture, page, output)

    def _write_page(self, picture: Picture, page: Enlargement, output: PagesWriter) -> None:
        frames = self._frames(picture)
        first = next(frames)
        upscaler: Upscaler | None = None
        with output.page(first, page.target[1]) as writer:
            self._notes |= dict.fromkeys(writer.notes)
            for frame in itertools.chain((first,), frames):
                with _turn(self._upscaler.sharing.turn) as leave:
                    upscaler = upscaler or self._pick(picture, page)
                    self._write_frame(frame, page, upscaler, writer, leave)

    def _pick(self, picture: Picture, page: Enlargement) -> Upscaler:
        upscaler = self._upscaler
        if isinstance(upscaler, UpscalersByScale):
            upscaler = upscaler.at(page.scale)
        if isinstance(upscaler, FittingUpscalers):
            upscaler, reason = upscaler.pick(self._source, picture)
            self.weights = self.weights or reason
        return upscaler

    def _frames(self, picture: Picture) -> Iterator[Picture]:
        """Those of an animation; the picture alone where it is none, or the output can hold none."""
        if self._plan.frames == 1:
            yield picture
            return
        frames = read_frames(self._source, picture)
        for number in range(self._plan.frames):
            try:
                yield next(frames)
            except ImageError as error:
                if not self._lenient or not number:
                    raise
                self._note_damage(error, "frames", number, self._plan.frames)
                return

    def _write_frame(
        self, frame: Picture, page: Enlargement, upscaler: Upscaler, writer: PictureWriter, leave: Callable[[], None]
    ) -> None:
        """Enlarge one picture; `leave` is called when the engine has done its part."""

        def after_tile(done: int, _: int) -> None:
            frame.forget()
            if self._progress:
                self._progress(self._before + done, self._plan.pixels)

        def after_last() -> None:
            if not self._upscaler.sharing.keeps_memory:
                upscaler.release()
            leave()

        keep = self._encoding.keep_clear_colours
        strips = upscaler.strips(frame.pixels, after_tile, after_last, keep_clear_colours=keep)
        for strip in reduce_strips(strips, page.whole, page.target):
            writer.write(strip)
            del strip  # before the next one takes its memory
        writer.end_frame()
        self._before += math.prod(page.whole)

    def _note_damage(self, error: ImageError, what: str, done: int, count: int) -> None:
        words = str(error).removeprefix(f"{self._source}: ")
        self._notes[f"{words}; {what} {done + 1} to {count} were left out"] = None


@contextmanager
def _turn(lock: threading.Lock) -> Iterator[Callable[[], None]]:
    """Hold a lock to the end of the block, or until the function that is yielded is called."""
    with ExitStack() as stack:
        stack.enter_context(lock)
        yield stack.close
