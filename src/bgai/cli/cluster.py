"""Options of commands that run on the machines of a cluster, and silence from Ray."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TextIO, cast

import typer

_PANEL = "Many machines"

ClusterOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Spread the pictures over the machines of a Ray cluster; 'auto' takes the one that this machine belongs"
        " to. Needs the extra 'cluster'.",
        rich_help_panel=_PANEL,
    ),
]
WorkerCpusOption = Annotated[int, typer.Option(help="CPU cores of each process on a cluster.", rich_help_panel=_PANEL)]
WorkerGpusOption = Annotated[
    float,
    typer.Option(help="GPUs of each process on a cluster; 0.5 lets two share one.", rich_help_panel=_PANEL),
]


class _OfOneThread:
    """A text stream that passes on what the thread writes that made it, and drops what others write."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        return self._stream.write(text) if threading.get_ident() == self._thread else len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def ray_silenced() -> Iterator[None]:
    """Drop what Ray prints within the block: its native code on standard error, its threads on standard output.

    Ray's own files of messages, which it keeps on each machine, have the same.
    """
    sys.stderr.flush()
    before, descriptor = (sys.stdout, sys.stderr), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    with os.fdopen(descriptor, "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors) as ours:
        sys.stdout, sys.stderr = cast(TextIO, _OfOneThread(sys.stdout)), ours
        try:
            yield
        finally:
            ours.flush()
            os.dup2(descriptor, 2)
            sys.stdout, sys.stderr = before
