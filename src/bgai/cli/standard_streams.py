"""A picture from standard input or to standard output, which is `-` on the command line."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bgai.cli.console import note
from bgai.errors import ImageError, OutputError, UsageError

if TYPE_CHECKING:
    from bgai.upscaling.batch import OutputSettings
    from bgai.upscaling.fitting import AnyUpscaler

STREAM = Path("-")
_SOURCE = "standard input"


def enlarge_stream(inputs: Sequence[Path], upscaler: AnyUpscaler, settings: OutputSettings, quiet: bool) -> None:
    """Enlarge one picture; both streams go through temporary files, because sources are read twice.

    Raises:
        UsageError: There is another input, or the output has no format.
        BgaiError: As for `bgai.upscaling.files.upscale_file`.
    """
    from bgai.upscaling.batch import FORMATS

    if len(inputs) != 1 or inputs[0].is_dir():
        raise UsageError("standard input or output is for one picture alone")
    source, target = inputs[0], settings.out if isinstance(settings.out, Path) else STREAM
    if target == STREAM and not settings.format:
        raise UsageError("standard output has no name that would tell its format: choose one", parameter="format")
    with tempfile.TemporaryDirectory(prefix="bgai-") as folder:
        if source == STREAM:
            source = Path(folder, _SOURCE)
            _copy_input(source)
        to_stream = target == STREAM
        if to_stream:
            target = Path(folder, f"output{FORMATS[settings.format or 'png']}")
        notes = _enlarge(source, target, upscaler, settings)
        if to_stream:
            _copy_output(target)
    for each in () if quiet else notes:
        note(each)


def _enlarge(source: Path, target: Path, upscaler: AnyUpscaler, settings: OutputSettings) -> tuple[str, ...]:
    from bgai.upscaling.batch import enlarge_file

    try:
        enlarged = enlarge_file(source, target, upscaler, settings, overwrite=settings.overwrite)
    except ImageError as error:
        if source.name != _SOURCE:
            raise
        message = str(error).replace(str(source), _SOURCE)
        raise ImageError(message, parameter=error.parameter) from error
    return (*enlarged.notes, *filter(None, (enlarged.weights,)))


def _copy_input(path: Path) -> None:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("standard input is no picture but the keyboard: give it a file, as in  < photo.jpg")
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)


def _copy_output(path: Path) -> None:
    if sys.stdout.isatty():
        raise OutputError("a picture is nothing for a terminal: send standard output to a file, as in  > big.png")
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()
