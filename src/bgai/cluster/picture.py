"""One picture, wherever it lies: from where it is to where its output belongs, as one machine of many does it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bgai.errors import BgaiError, ImageError, InWorkError, OutputError
from bgai.remote_files import RemotePath, download, exists, upload
from bgai.types import PixelProgress, Size
from bgai.upscaling.batch import NamedPicture, OutputSettings, plan_job, run_job
from bgai.upscaling.fitting import AnyUpscaler, used_weights

State = Literal["enlarged", "finished", "in work", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one picture."""

    source: str
    target: str
    state: State
    """`finished` if its output was there already, `in work` if another process makes it now."""
    source_size: Size | None = None
    target_size: Size | None = None
    weights: str = ""
    """Which were picked, and why; empty where they were given."""
    notes: tuple[str, ...] = ()
    """What could not be kept as it was."""
    seconds: float = 0
    """For reading, enlarging and writing."""
    error: str = ""
    """Why there is no output."""
    parameter: str = ""
    """As that of `bgai.errors.BgaiError`."""


def enlarge_picture(
    picture: NamedPicture, upscaler: AnyUpscaler, settings: OutputSettings, progress: PixelProgress | None = None
) -> Outcome:
    """Enlarge one picture; whatever goes wrong is a failure of this picture.

    Files that lie elsewhere are copied to a temporary folder, and outputs from there as a whole.

    Args:
        picture: Of `bgai.upscaling.batch.name_outputs`.
        upscaler: What enlarges it.
        settings: Those that the picture was named with.
        progress: Called with the network's output pixels done and those in all.
    """
    source, target = str(picture.source), str(picture.target)
    try:
        return _enlarge(picture, upscaler, settings, progress)
    except InWorkError:
        return Outcome(source, target, "in work")
    except BgaiError as error:
        return Outcome(source, target, "failed", error=str(error), parameter=error.parameter)
    except MemoryError:
        message = f"{source}: not enough memory; set a smaller tile"
        return Outcome(source, target, "failed", error=message, parameter="tile")
    except Exception as error:
        message = f"{source}: cannot be enlarged: {type(error).__name__}: {error}"
        return Outcome(source, target, "failed", error=message)


def _enlarge(
    picture: NamedPicture, upscaler: AnyUpscaler, settings: OutputSettings, progress: PixelProgress | None
) -> Outcome:
    start = time.perf_counter()
    with _staged(picture) as (source, target):
        job = plan_job(source, target, upscaler.scale, settings, lambda scale: used_weights(upscaler, scale))
        if job is None:
            return Outcome(str(picture.source), str(picture.target), "finished")
        enlarged = run_job(job, upscaler, settings, progress)
        if isinstance(picture.target, RemotePath):
            upload(target, picture.target, overwrite=settings.overwrite or bool(job.replaces))
    return Outcome(
        str(picture.source),
        str(picture.target),
        "enlarged",
        job.plan.source,
        job.plan.target,
        enlarged.weights,
        enlarged.notes,
        time.perf_counter() - start,
    )


@contextmanager
def _staged(picture: NamedPicture) -> Iterator[tuple[Path, Path]]:
    """Lend local files for source and target, the target with what is there already."""
    source, target = picture.source, picture.target
    if isinstance(source, Path) and isinstance(target, Path):
        yield source, target
        return
    with tempfile.TemporaryDirectory(prefix="bgai-") as folder:
        near_source, near_target = source, target
        if isinstance(source, RemotePath):
            near_source = Path(folder, "source", source.name)
            near_source.parent.mkdir()
            download(source, near_source)
        if isinstance(target, RemotePath):
            near_target = Path(folder, "target", target.name)
            near_target.parent.mkdir()
            if exists(target):
                download(target, near_target)
        assert isinstance(near_source, Path)
        assert isinstance(near_target, Path)
        try:
            yield near_source, near_target
        except (ImageError, OutputError) as error:
            message = str(error).replace(str(near_source), str(source)).replace(str(near_target), str(target))
            raise type(error)(message, parameter=error.parameter) from error
