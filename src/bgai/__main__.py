"""The process of the `bgai` command, of `python -m bgai`, and of the scripts in the root of the clone."""

from __future__ import annotations

from bgai.cli import interrupts

TYPE_CHECKING = False  # for type checkers, which take it as true; `typing` takes long to load
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command, and end the process with its exit code.

    Until signals are handled, an interrupt shows Python's traceback: little is loaded before that.

    Args:
        arguments: Those of the command; None takes them from the process.
    """
    interrupts.end_at_once()
    import atexit
    import gc
    import os

    from bgai.cli import streams

    # What is loaded at the start is kept: looking for garbage in it over and over takes a twentieth of a second.
    gc.set_threshold(100_000)
    streams.make_steady()
    from bgai.cli.app import app
    from bgai.cli.console import complain

    try:
        app(arguments, prog_name="bgai")
    except SystemExit as end:
        interrupts.end_at_once()
        code = end.code if isinstance(end.code, int) else 1
        atexit._run_exitfuncs()
        if lost := streams.flush():
            complain(f"standard output: cannot be written: {lost.strerror or lost}")
            streams.flush()
            code = code or 1
        # Taking interpreter and libraries apart piece by piece would take a tenth of a second.
        os._exit(code)


if __name__ == "__main__":
    main()
