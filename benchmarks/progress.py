"""How far a measurement is, on one line of the terminal."""

from __future__ import annotations

import sys


def show(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{what} {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)
