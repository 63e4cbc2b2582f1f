"""Standard output and error whose failures do not stop the work: they may be closed, full, or of any encoding."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

_steady: dict[str, _SteadyWriter] = {}


class _SteadyWriter(io.RawIOBase):
    """Passes on what is written; after the first error, which is kept as `lost`, it drops the rest."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self.lost: OSError | None = None

    def write(self, data: Any) -> int | None:
        if self.lost is None:
            try:
                return self._raw.write(data)
            except OSError as error:
                self.lost = error
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()


def make_steady() -> None:
    """Replace `sys.stdout` and `sys.stderr`; characters that their encoding lacks are written as escapes."""
    _open_closed_descriptors()
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:  # closed, or a Windows program without a console
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, _wrapped(name, stream))


def flush() -> OSError | None:
    """Flush both streams, and return the error of standard output, if any; a closed pipe does not count as one."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    lost = _steady["stdout"].lost if "stdout" in _steady else None
    return None if isinstance(lost, BrokenPipeError) else lost


def _wrapped(name: str, stream: io.TextIOWrapper) -> TextIO:
    with suppress(OSError):
        stream.flush()
    buffered: Any = stream.buffer
    unbuffered = isinstance(buffered, io.RawIOBase)  # by -u or PYTHONUNBUFFERED
    _steady[name] = _SteadyWriter(buffered if unbuffered else buffered.raw)
    writer: Any = _steady[name] if unbuffered else io.BufferedWriter(_steady[name])
    return io.TextIOWrapper(
        writer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or name == "stderr",
        write_through=stream.write_through,
    )


def _open_closed_descriptors() -> None:
    """Open those that are closed; or else a file opened later gets one of these numbers, and what libraries print."""
    if os.name == "nt":
        return
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
