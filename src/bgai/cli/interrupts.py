"""What SIGINT (Ctrl-C), SIGTERM and SIGHUP do: the command stops, and leaves nothing half done."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager

TYPE_CHECKING = False  # for type checkers, which take it as true; `typing` takes long to load
if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]  # Windows has no SIGHUP
# `timeout` signals a process and then its group, a closed terminal likewise: that is one request.
_ONE_REQUEST_SECONDS = 1.0

_own_process = False
_asked_at: float | None = None
_deferring = False


def end_at_once() -> None:
    """Let signals end the process at once and silently, while there is nothing to tidy up yet, or no longer."""
    global _own_process
    _own_process = True
    _handle(signal.SIG_DFL)


def stop_in_order() -> None:
    """Turn the first signal into a KeyboardInterrupt; another one, a second later or more, ends the process at once.

    Only after `end_at_once`: a program that runs a command within its own process keeps its own handling of signals.
    """
    if _own_process:
        _handle(_stop)


def asked() -> bool:
    """Whether a signal has arrived since `stop_in_order`, even if its KeyboardInterrupt was lost in a library."""
    return _asked_at is not None


def check() -> None:
    """Stop here if a signal has arrived.

    Raises:
        KeyboardInterrupt: One has.
    """
    if asked():
        raise KeyboardInterrupt


@contextmanager
def deferred() -> Iterator[None]:
    """Within the block, signals stop the command only at the next `check`.

    So no file is left half done, and no library written in C++ meets an exception where it would end the process.
    """
    global _deferring
    check()
    before, _deferring = _deferring, True
    try:
        yield
    finally:
        _deferring = before
    check()


def _handle(handler: signal._HANDLER) -> None:
    for number in _NUMBERS:
        if signal.getsignal(number) != signal.SIG_IGN:  # by nohup, or a shell that started this in the background
            signal.signal(number, handler)


def _stop(number: int, _: object) -> None:
    global _asked_at
    if _asked_at is None:
        _asked_at = time.monotonic()
        if not _deferring:
            raise KeyboardInterrupt
    elif time.monotonic() - _asked_at > _ONE_REQUEST_SECONDS:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
