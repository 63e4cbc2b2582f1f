"""`bgai upscale` for pictures that lie elsewhere, and on the machines of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from bgai.cli import interrupts
from bgai.cli.cluster import ray_silenced
from bgai.cli.console import complain, explain, note, progress_bar, tell
from bgai.cli.standard_streams import STREAM
from bgai.cli.upscale import name_output, print_json
from bgai.errors import BgaiError, UsageError

if TYPE_CHECKING:
    from bgai.cluster.enlarging import Opening
    from bgai.cluster.picture import Outcome
    from bgai.cluster.pool import Pool
    from bgai.remote_files import AnyPath
    from bgai.types import Size
    from bgai.upscaling.batch import NamedPicture, OutputSettings


def spread(
    command: Any,
    inputs: Sequence[AnyPath],
    settings: OutputSettings,
    opening: Opening,
    pool: Pool | None,
    *,
    recursive: bool,
    dry_run: bool,
    json: bool,
    quiet: bool,
) -> None:
    """Enlarge pictures, wherever they lie, here or on a cluster.

    Args:
        command: That of the command line, for the options in messages.
        inputs: Files and folders.
        settings: How outputs are named and written.
        opening: How upscalers are opened.
        pool: The cluster; None for this machine.
        recursive: Whether to look into folders of folders.
        dry_run: Whether to name the outputs alone.
        json: Whether to print JSON objects.
        quiet: Whether to print errors alone.

    Raises:
        BgaiError: Nothing can be enlarged.
        typer.Exit: Some picture could not be.
    """
    from bgai.upscaling.batch import name_outputs

    _check(inputs, settings)
    report = _Report(command, json, quiet)
    pictures, failures = name_outputs(inputs, opening.find_scale(), settings, recursive)
    for failure in failures:
        report.failed(explain(failure, command))
    if dry_run:
        for picture in pictures:
            report.planned(picture)
    else:
        _enlarge(pictures, opening, settings, pool, report)
    report.summarise(len(pictures) if dry_run else None)
    if report.counts["failed"]:
        raise typer.Exit(1)


def _check(inputs: Sequence[AnyPath], settings: OutputSettings) -> None:
    from bgai.remote_files import RemotePath, check_writable

    if STREAM in inputs or settings.out == STREAM:
        raise UsageError("standard input and output are for one picture on this machine alone")
    if isinstance(settings.out, RemotePath):
        check_writable(settings.out)
    if settings.keep_dates and any(isinstance(each, RemotePath) for each in (*inputs, settings.out)):
        raise UsageError("dates are kept for files on this machine alone", parameter="keep_dates")
    if settings.out is None and any(isinstance(each, RemotePath) and each.is_web for each in inputs):
        raise UsageError("a web server takes no outputs: name a folder for them", parameter="output")


def _enlarge(
    pictures: Sequence[NamedPicture], opening: Opening, settings: OutputSettings, pool: Pool | None, report: _Report
) -> None:
    silence = nullcontext() if pool is None else ray_silenced()
    with silence, progress_bar(hidden=report.quiet) as advance:
        advance("", 0, len(pictures))
        for done, outcome in enumerate(_outcomes(pictures, opening, settings, pool), 1):
            report.add(outcome)
            advance(outcome.source.rpartition("/")[2], done, len(pictures))


def _outcomes(
    pictures: Sequence[NamedPicture], opening: Opening, settings: OutputSettings, pool: Pool | None
) -> Iterator[Outcome]:
    from bgai.cluster.enlarging import enlarge_on_cluster
    from bgai.cluster.picture import enlarge_picture

    if pool is not None:
        yield from enlarge_on_cluster(pictures, opening, settings, pool)
        return
    upscaler = opening.open()
    for picture in pictures:
        with interrupts.deferred():
            yield enlarge_picture(picture, upscaler, settings, lambda *_: interrupts.check())


@dataclass
class _Report:
    """What is printed of each picture, and at the end."""

    command: Any
    json: bool
    quiet: bool

    def __post_init__(self) -> None:
        self.counts = {"enlarged": 0, "finished": 0, "in work": 0, "failed": 0}

    def planned(self, picture: NamedPicture) -> None:
        """Name a picture and its output."""
        if self.json:
            print_json(source=str(picture.source), target=str(picture.target))
        elif not self.quiet:
            tell(f"{picture.source}: {picture.target}")

    def add(self, outcome: Outcome) -> None:
        """Say what became of a picture."""
        if outcome.state == "failed":
            error = BgaiError(outcome.error, parameter=outcome.parameter)
            self.failed(explain(error, self.command), source=outcome.source, target=outcome.target)
            return
        self.counts[outcome.state] += 1
        notes = ["in work elsewhere"] if outcome.state == "in work" else outcome.notes
        if self.json and outcome.state != "finished":
            print_json(
                source=outcome.source,
                target=outcome.target,
                source_size=_wide_high(outcome.source_size),
                target_size=_wide_high(outcome.target_size),
                weights=outcome.weights,
                seconds=round(outcome.seconds, 3),
                notes=notes,
            )
        elif not self.json and not self.quiet:
            for each in notes:
                note(f"{outcome.source}: {each}")
            if outcome.state == "enlarged":
                name_output(outcome.target, outcome.weights)

    def failed(self, message: str, **facts: str) -> None:
        """Say why there is no output."""
        self.counts["failed"] += 1
        complain(message)
        if self.json:
            print_json(**facts, error=message)

    def summarise(self, planned: int | None) -> None:
        """Count what was done and what was not."""
        enlarged = f"{self.counts['enlarged']} enlarged" if planned is None else f"{planned} to be enlarged"
        words = {"finished": "finished before", "in work": "in work elsewhere", "failed": "failed"}
        rest = [f"{self.counts[state]} {text}" for state, text in words.items() if self.counts[state]]
        if not self.quiet:
            note(", ".join([enlarged, *rest]))


def _wide_high(size: Size | None) -> tuple[int, int] | None:
    return size and (size[1], size[0])
