"""What goes wrong on the user's side, each with one clear message."""

from __future__ import annotations

from collections.abc import Sequence


class BgaiError(Exception):
    """Base of all errors that this package raises on purpose; the text says what, where and what to do."""


class UsageError(BgaiError):
    """An option or argument has a value that is not allowed."""


class ImageError(BgaiError):
    """A picture cannot be read or is of a kind that is not supported."""


class OutputError(BgaiError):
    """An output cannot be written."""


class WeightsError(BgaiError):
    """Weights are missing, damaged, or not of this network."""


class EngineError(BgaiError):
    """No engine can run the weights on the device asked for."""


def listed(items: Sequence[str], separator: str = ", ") -> str:
    """The first ten, and how many more there are: for messages that name all that is wrong."""
    return separator.join(items[:10]) + (f" and {len(items) - 10} more" if len(items) > 10 else "")
