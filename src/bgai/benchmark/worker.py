"""The process that is measured: it runs a round for each line that it reads.

Loads nothing but the standard library, so that other projects can be measured in their own environments.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

Run = Callable[[], object]
Facts = Mapping[str, str]


def serve(begin: Callable[[], tuple[Run, Facts]]) -> None:
    """Answer each line of the standard input with a round; every answer is one line of JSON.

    The first answer, unasked, is the facts; then for each round its `seconds`, the `cpu_seconds` of all threads, and
    the `peak_bytes` of this process so far. An error is the last answer: `error` says in one line what went wrong.

    Args:
        begin: Loads what is measured. Returns a function that runs one round, and facts about what is measured;
            `device` is where its memory is counted, `cpu` if it is missing.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # so that what libraries print is not taken for an answer

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    try:
        run, facts = begin()
        answer(**facts)
        for _ in sys.stdin:
            start, cpu_start = time.perf_counter(), time.process_time()
            run()
            seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
            answer(seconds=seconds, cpu_seconds=cpu_seconds, peak_bytes=peak_bytes(facts.get("device", "cpu")))
    except Exception as error:
        answer(error=(str(error).strip() or type(error).__name__).splitlines()[0])
        sys.exit(1)


def peak_bytes(device: str) -> int:
    """Largest resident memory of this process so far; on a GPU the largest that PyTorch held there."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
