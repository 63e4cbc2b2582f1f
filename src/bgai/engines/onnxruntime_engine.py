"""ONNX graphs through ONNX Runtime: on GPUs by DirectML (Windows) and CoreML (macOS), or the CPU.

Needs the package `onnxruntime`, or `onnxruntime-directml` on Windows.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bgai.engines.base import ProcessGuard, run_error
from bgai.errors import EngineError, MissingExtraError, WeightsError
from bgai.free_memory import free_memory
from bgai.types import Size, Tiles
from bgai.weights.onnx_file import read_graph_metadata

PROVIDERS: Mapping[str, str] = {
    "dml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""ONNX Runtime's name for each device."""
_OPTIONS: Mapping[str, Mapping[str, str]] = {"coreml": {"ModelFormat": "MLProgram"}}  # the other lacks operators
_KEPT_SESSIONS = 4
_GUARD = ProcessGuard("ONNX Runtime")

log = logging.getLogger(__name__)


def has_onnxruntime() -> bool:
    """Whether ONNX Runtime is installed; loads nothing."""
    return importlib.util.find_spec("onnxruntime") is not None


def accelerators() -> list[str]:
    """The devices other than the CPU that the installed ONNX Runtime has: `dml`, `coreml`."""
    if not has_onnxruntime():
        return []
    import onnxruntime

    available = onnxruntime.get_available_providers()
    return [device for device, provider in PROVIDERS.items() if provider in available and device != "cpu"]


class OnnxRuntimeEngine:
    """Runs a graph from `bgai export`; calls of several threads wait for each other.

    GPUs want graphs of one size: a session is opened for each size of tile. What the device cannot run, the CPU does;
    where it can run nothing, a warning of the logger says so.

    Args:
        onnx: The graph, in float32 or half precision.
        device: `dml`, `coreml` or `cpu`.

    Raises:
        EngineError: This ONNX Runtime has no such device.
        WeightsError: The graph is damaged, or not one from `bgai export`.
    """

    name = "onnxruntime"
    bytes_per_pixel = 16_500

    def __init__(self, onnx: Path, device: str = "cpu") -> None:
        if not has_onnxruntime():
            raise MissingExtraError("onnxruntime", "the engine onnxruntime")
        if device != "cpu" and device not in accelerators():
            here = ", ".join([*accelerators(), "cpu"])
            raise EngineError(f"device {device!r}: ONNX Runtime has {here} on this machine", parameter="device")
        scale = read_graph_metadata(onnx).get("scale", "")
        if scale not in ("2", "3", "4"):
            raise WeightsError(f"{onnx}: does not say its scale; expected a graph from bgai export")
        self.device = device
        self.scale = int(scale)
        self._onnx = onnx
        self._sessions: dict[Size | None, Any] = {}
        self._noted = False
        self._lock = threading.Lock()
        self._dimensions = self._open(None).get_inputs()[0].shape

    def prepare(self, size: Size, count: int) -> None:
        with self._lock:
            self._session(size)

    def __call__(self, tiles: Tiles, count: int = 1) -> Tiles:
        size = tiles.shape[-2], tiles.shape[-1]
        _GUARD.use()
        with self._lock:
            session = self._session(size)
            try:
                results = [session.run(None, {"lr": np.ascontiguousarray(tile[None])})[0] for tile in tiles]
            except Exception as error:  # classes of the runtime's own
                raise run_error(error, f"ONNX Runtime on {self.device}", size) from error
        result: Tiles = np.concatenate(results)
        return result

    def release(self) -> None:
        """Sessions keep their memory for the next tiles."""

    def rest(self) -> None:
        with self._lock:
            self._sessions.clear()

    def free_memory(self) -> int:
        return free_memory()

    def _session(self, size: Size) -> Any:
        if size not in self._sessions:
            if len(self._sessions) == _KEPT_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[size] = self._open(size)
        return self._sessions[size]

    def _open(self, size: Size | None) -> Any:
        """A session for tiles of one size, one at a time; for tiles of any size and number for None."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors: it warns of each node that the CPU takes over
        if size is not None:
            for name, value in zip(self._dimensions, (1, 3, *size), strict=True):
                if isinstance(name, str):
                    options.add_free_dimension_override_by_name(name, value)
        device = "cpu" if size is None else self.device
        providers = {PROVIDERS[device]: dict(_OPTIONS.get(device, {})), PROVIDERS["cpu"]: {}}
        if self.device == "dml":  # which cannot run nodes side by side, or plan their memory beforehand
            options.enable_mem_pattern = False
            options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        try:
            session = onnxruntime.InferenceSession(str(self._onnx), options, providers=list(providers.items()))
        except Exception as error:  # classes of the runtime's own
            reason = " ".join(str(error).split())[:300]
            raise WeightsError(f"{self._onnx}: ONNX Runtime cannot load this graph: {reason}") from error
        if PROVIDERS[device] not in session.get_providers() and not self._noted:
            self._noted = True
            log.warning("%s cannot run this graph, so the CPU does", self.device)
        return session
