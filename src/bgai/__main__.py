"""The process of the `bgai` command, and of `python -m bgai`."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys


def main() -> None:
    """Run the command, and end the process with its exit code."""
    # What is loaded at the start is kept: looking for garbage in it over and over takes a twentieth of a second.
    gc.set_threshold(100_000)
    from bgai.cli.app import app

    # Whoever ends the process politely gets what Ctrl-C does: nothing half done is left.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except SystemExit as end:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        # Taking interpreter and libraries apart piece by piece would take a tenth of a second.
        os._exit(end.code if isinstance(end.code, int) else 1)


if __name__ == "__main__":
    main()
