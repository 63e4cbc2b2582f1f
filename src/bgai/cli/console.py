"""What the commands print: lines, complaints and progress bars, with names shown as they are."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from bgai.cli import interrupts
from bgai.errors import BgaiError, MissingExtraError

if TYPE_CHECKING:
    from rich.progress import Task

    from bgai.types import Progress

Unit = Literal["", "MP", "MB"]

# Names of files are neither markup nor emoji.
out = Console(markup=False, emoji=False, highlight=False)
err = Console(markup=False, emoji=False, highlight=False, stderr=True)
if not out.is_terminal:
    out.width = 1000  # a pipe or a file has no edge to wrap at


def tell(line: str) -> None:
    """Print a result on standard output: on a terminal as one line, for a program unchanged."""
    out.print(printable(line) if out.is_terminal else line, soft_wrap=True)


def note(line: str) -> None:
    """Print a message that is not a result, on standard error."""
    err.print(printable(line), soft_wrap=True)


def complain(message: object) -> None:
    """Print an error, which may have several lines."""
    lines = map(printable, str(message).split("\n"))
    err.print("bgai: " + "\n".join(lines), style="red", soft_wrap=True)


def printable(text: str) -> str:
    """The text as one line, with control characters and undecodable bytes of file names as escapes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def explain(error: BgaiError | MemoryError, command: Any) -> str:
    """The message of an error, with the option of a command that would help."""
    parameter = error.parameter if isinstance(error, BgaiError) else "tile"
    message = str(error) if isinstance(error, BgaiError) else "not enough memory; set a smaller tile"
    options = [option for each in command.params if each.name == parameter for option in each.opts]
    flags = [option for option in options if option.startswith("--")]
    return f"{message} ({flags[0]})" if flags else message


@contextmanager
def needing_extra(extra: str, what: str) -> Iterator[None]:
    """Turn a failed import in the block into an error that names the extra to install; signals wait for its end.

    Raises:
        MissingExtraError: A library is not installed.
    """
    try:
        with interrupts.deferred():
            yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra, what) from error


def amount(done: float, total: float, unit: Unit = "", speed: float | None = None) -> str:
    """Such as `3 of 10`, or `1.2 of 3.4 MP, 0.5 MP/s`; small totals get more decimals."""
    if not unit:
        return f"{done:,.0f} of {total:,.0f}"
    per_second = f", {_in_millions(speed, speed)} {unit}/s" if speed else ""
    return f"{_in_millions(done, total)} of {_in_millions(total, total)} {unit}{per_second}"


def _in_millions(value: float, largest: float) -> str:
    """In millions, with one decimal, or with as many as `largest` needs for two digits."""
    decimals = max(1, 7 - math.floor(math.log10(largest))) if largest >= 1 else 1
    return f"{value / 1e6:.{decimals}f}"


@contextmanager
def progress_bar(unit: Unit = "", *, transient: bool = False, hidden: bool = False) -> Iterator[Progress]:
    """Yield a function to call with the name of the step, the amount done and the total.

    On a terminal it draws a bar, elsewhere nothing. Called after Ctrl-C, it stops the command.

    Args:
        unit: `MP` or `MB` for pixels or bytes, shown in millions; empty for things that are counted.
        transient: Whether the bar goes away at the end.
        hidden: Whether it is never shown.
    """
    from rich.progress import BarColumn, ProgressColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Description(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(printable(task.description))

    class Amount(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(amount(task.completed, task.total or 0, unit, task.speed))

    columns = (Description(), BarColumn(), Amount(), TimeRemainingColumn())
    with Bar(*columns, console=err, transient=transient, disable=hidden or not sys.stderr.isatty()) as bar:
        task = bar.add_task("", visible=False)

        def advance(what: str, done: int, total: int) -> None:
            interrupts.check()
            bar.update(task, description=what, completed=done, total=total, visible=True)

        yield advance
