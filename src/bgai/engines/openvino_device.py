"""The network on OpenVINO's GPUs and NPUs: a graph of one size for each size of tile, with the CPU to fall back on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bgai.engines.base import run_error
from bgai.engines.graph_cache import GraphCache
from bgai.engines.openvino_engine import digest_of_builder, digest_of_tensors
from bgai.engines.openvino_graph import build_graph, window_orders
from bgai.engines.openvino_runtime import GUARD, SETTINGS, InferRequest, core
from bgai.errors import EngineError
from bgai.free_memory import free_memory
from bgai.network.config import NetworkConfig
from bgai.types import Precision, Size, Tensors, Tiles

_BYTES_PER_PIXEL: Mapping[Precision, int] = {"float32": 6_600, "half": 3_500}
_KEPT_GRAPHS = 4
# What OpenVINO calls arithmetic, in its settings and among a device's capabilities; the first that there is is taken.
_ARITHMETIC: Mapping[Precision, Sequence[tuple[str, str]]] = {
    "float32": (("f32", "FP32"), ("f16", "FP16")),
    "half": (("f16", "FP16"), ("bf16", "BF16")),
}

log = logging.getLogger(__name__)


class OpenVinoDeviceEngine:
    """Runs tiles on a GPU or an NPU; calls of several threads wait for each other.

    These devices compile a graph for one size of tile at a time. Where one cannot compile the graph, the CPU runs it,
    and a warning of the logger says so.

    Args:
        config: The network's settings.
        tensors: Its weights.
        cache: The folder where compiled graphs are kept; None keeps none.
        device: `gpu`, `gpu.1`, `npu`, …; `cpu` for comparisons.
        precision: `half` computes in float16, or bfloat16 on CPUs; `float32` in float32 where the device can. NPUs
            cannot: they compute in float16, and a warning says so.

    Raises:
        EngineError: There is no such device, or it has no arithmetic of half precision.
    """

    name = "openvino"

    def __init__(
        self,
        config: NetworkConfig,
        tensors: Tensors,
        cache: Path | None,
        device: str,
        precision: Precision = "float32",
    ) -> None:
        self.device = device
        self.scale = config.scale
        self.bytes_per_pixel = _BYTES_PER_PIXEL[precision]
        self._config, self._tensors = config, tensors
        self._settings = {**SETTINGS, "INFERENCE_PRECISION_HINT": _arithmetic(device, precision)}
        self._cache = cache
        self._requests: dict[Size, InferRequest] = {}
        self._lock = threading.Lock()

    def prepare(self, size: Size, count: int) -> None:
        GUARD.check()
        with self._lock:
            self._request(size)

    def __call__(self, tiles: Tiles, count: int = 1) -> Tiles:
        GUARD.check()
        size = tiles.shape[-2], tiles.shape[-1]
        with self._lock:
            request = self._request(size)
            try:
                results = [self._enlarge(tile[None], request) for tile in tiles]
            except (RuntimeError, MemoryError) as error:
                raise run_error(error, f"OpenVINO on {self.device}", size) from error
        return np.concatenate(results)

    def release(self) -> None:
        """The device keeps the memory of its graphs: they are compiled for the next tiles too."""

    def rest(self) -> None:
        if not GUARD.is_forked():
            with self._lock:
                self._requests.clear()

    def free_memory(self) -> int:
        free = free_memory()
        if self.device.startswith("gpu"):  # which may have memory of its own, or be given a part of this
            free = min(free, int(core().get_property(self.device.upper(), "GPU_DEVICE_TOTAL_MEM_SIZE")))
        return free

    def _enlarge(self, tile: Tiles, request: InferRequest) -> Tiles:
        orders = window_orders(self._config, (tile.shape[-2], tile.shape[-1]))
        result = request.infer({"lr": np.ascontiguousarray(tile), **orders})[0]
        return np.array(result, np.float32).transpose(0, 3, 1, 2)

    def _request(self, size: Size) -> InferRequest:
        if size not in self._requests:
            if len(self._requests) == _KEPT_GRAPHS:
                del self._requests[next(iter(self._requests))]
            try:
                self._requests[size] = self._compile(size, self.device.upper(), self._settings)
            except (RuntimeError, MemoryError) as error:
                reason = " ".join(str(error).split())[:200]
                log.warning("%s cannot run tiles of %d x %d, so the CPU does: %s", self.device, *size[::-1], reason)
                self._requests[size] = self._compile_for_cpu(size)
        return self._requests[size]

    def _compile_for_cpu(self, size: Size) -> InferRequest:
        try:
            return self._compile(size, "CPU", SETTINGS)
        except (RuntimeError, MemoryError) as error:
            raise run_error(error, "OpenVINO", size) from error

    def _compile(self, size: Size, place: str, settings: Mapping[str, str]) -> InferRequest:
        key = f"{self._config} {size} {digest_of_tensors(self._tensors)} {digest_of_builder()}"
        bfloat16 = settings["INFERENCE_PRECISION_HINT"] == "bf16"
        graphs = GraphCache(self._cache, place)
        compiled = graphs.compile(lambda: build_graph(self._tensors, self._config, size, bfloat16), key, settings)
        return compiled.create_infer_request()


def _arithmetic(device: str, precision: Precision) -> str:
    """OpenVINO's name for what a device computes in."""
    place, devices = device.upper(), core().available_devices
    if place not in devices and f"{place}.0" not in devices:
        here = ", ".join(name.lower() for name in devices)
        raise EngineError(f"device {device!r}: OpenVINO sees {here} on this machine", parameter="device")
    capabilities = core().get_property(place, "OPTIMIZATION_CAPABILITIES")
    for name, capability in _ARITHMETIC[precision]:
        if capability in capabilities:
            if precision == "float32" and name != "f32":
                log.warning("%s computes in float16: results may be off by some levels of 255", device)
            return name
    raise EngineError(f"precision {precision}: {device} has no such arithmetic", parameter="precision")
