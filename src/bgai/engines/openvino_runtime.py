"""OpenVINO, imported here alone: its classes, its settings, and the one core of this process.

When OpenVINO is imported it starts a process that reports the import over the network, unless the module that does so
cannot be found. So that module is hidden while OpenVINO is imported, and only then.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bgai.errors import EngineError

__all__ = [
    "COMPILING",
    "SETTINGS",
    "CompiledModel",
    "Core",
    "InferRequest",
    "Model",
    "Node",
    "Output",
    "PartialShape",
    "Tensor",
    "check_process",
    "core",
    "is_forked",
    "op",
]

_REPORTER = "openvino_telemetry"


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Make imports of a module fail within the block."""
    before = {module: sys.modules[module]} if module in sys.modules else {}
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
        sys.modules.update(before)


with _hidden(_REPORTER):
    from openvino import CompiledModel, Core, InferRequest, Model, Node, Output, PartialShape, Tensor
    from openvino import opset13 as op

SETTINGS = {
    # Left alone, OpenVINO computes in bfloat16 or float16 where the CPU can, off by whole 8-bit levels.
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
}
COMPILING = threading.Lock()
"""Held while a graph is built, compiled and freed: nodes that graphs share are not made for several threads."""

_users: list[int] = []  # the process that made the core


def core() -> Core:
    """The core of this process, made when first asked for.

    Raises:
        EngineError: The process was forked from one that has a core.
    """
    check_process()
    return _made_core()


@functools.cache
def _made_core() -> Core:
    """It is never freed: OpenVINO frees with it what the process handles signals on."""
    _users.append(os.getpid())
    return Core()


def is_forked() -> bool:
    """Whether this process was forked from one that had used OpenVINO, whose threads are not here."""
    return bool(_users) and _users[0] != os.getpid()


def check_process() -> None:
    """Refuse a forked process, in which OpenVINO would wait for ever for threads that the fork left behind.

    Raises:
        EngineError: The process was forked from one that had used OpenVINO.
    """
    if is_forked():
        raise EngineError(
            "OpenVINO was used before this process was forked, and its threads are not here: start processes with"
            " multiprocessing's 'spawn' or 'forkserver', or enlarge nothing before the fork"
        )
