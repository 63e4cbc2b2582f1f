"""OpenVINO, imported only here: its classes, its settings, and the one core of this process.

When OpenVINO is imported it starts a process that reports the import over the network, unless the module that does so
cannot be found. So that module is hidden while OpenVINO is imported, and only then.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bgai.engines.base import ProcessGuard
from bgai.processors import thread_limit

__all__ = [
    "COMPILING",
    "GUARD",
    "SETTINGS",
    "VERSION",
    "CompiledModel",
    "Core",
    "InferRequest",
    "Model",
    "Node",
    "Op",
    "Output",
    "PartialShape",
    "Tensor",
    "core",
    "op",
    "read_graph",
    "save_model",
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
    from openvino import CompiledModel, Core, InferRequest, Model, Node, Op, Output, PartialShape, Tensor, save_model
    from openvino import __version__ as VERSION
    from openvino import opset13 as op
    from openvino.frontend import FrontEndManager

SETTINGS = {
    # Left alone, OpenVINO computes in bfloat16 or float16 where the CPU can, off by whole 8-bit levels.
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
}
COMPILING = threading.Lock()
"""Held while a graph is built, compiled and freed: the nodes that graphs share are not safe for threads."""

GUARD = ProcessGuard("OpenVINO")
_MAKING_CORE = threading.Lock()


def core() -> Core:
    """The core of this process, created at the first call.

    Raises:
        EngineError: The process was forked from one that has a core.
    """
    GUARD.use()
    with _MAKING_CORE:
        return _made_core()


@functools.cache
def _made_core() -> Core:
    """Never freed: with it OpenVINO would free memory that the handling of signals uses."""
    made = Core()
    if threads := thread_limit():
        # OpenVINO binds threads to the first cores of a machine, which all processes there would share.
        made.set_property("CPU", {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False})
    return made


def read_graph(onnx: Path) -> Model:
    """Read an ONNX file; a damaged one is not tried as a file of other frameworks, whose readers print messages.

    Raises:
        RuntimeError: It is no ONNX graph that OpenVINO understands.
    """
    core()
    if onnx.stat().st_size == 0:  # which the reader takes as a graph without nodes
        raise RuntimeError("the file is empty")
    try:
        reader = FrontEndManager().load_by_framework("onnx")
        return reader.convert(reader.load(str(onnx)))
    except Exception as error:  # classes of the reader's own, or of decoding where its message holds bytes of the file
        raise RuntimeError(str(error)) from error
