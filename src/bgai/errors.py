"""Errors that a user can cause, each with one clear message."""

from __future__ import annotations

from collections.abc import Sequence


class BgaiError(Exception):
    """Base of all errors that this package raises on purpose; the text says what, where and what to do.

    Args:
        message: One line.
        parameter: Python name of the argument that should have another value. The command line adds the option
            of that name to the message.
    """

    def __init__(self, message: str, *, parameter: str = "") -> None:
        super().__init__(message)
        self.parameter = parameter


class UsageError(BgaiError):
    """An option or argument has a value that is not allowed."""


class ImageError(BgaiError):
    """A picture cannot be read or is of a kind that is not supported."""


class VideoError(BgaiError):
    """A video cannot be read or is of a kind that is not supported."""


class OutputError(BgaiError):
    """An output cannot be written."""


class InWorkError(OutputError):
    """Another process, or another thread, makes this output now."""


class WeightsError(BgaiError):
    """Weights are missing, damaged, or not of this network."""


class EngineError(BgaiError):
    """No engine can run the weights on the device asked for."""


class MissingExtraError(EngineError):
    """A part of the package needs libraries that the core install leaves out.

    Args:
        extra: The extra that brings them, such as `torch`.
        what: What needs them.
    """

    def __init__(self, extra: str, what: str = "this") -> None:
        super().__init__(f"{what} needs the extra {extra!r}: install it with  pip install 'bgai[{extra}]'")


def listed(items: Sequence[str], separator: str = ", ") -> str:
    """The first ten, and how many more there are: for messages that name all that is wrong."""
    return separator.join(items[:10]) + (f" and {len(items) - 10} more" if len(items) > 10 else "")
