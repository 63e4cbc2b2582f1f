"""The engine of the core install for exported graphs: an ONNX graph on the CPU through OpenVINO."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import numpy as np

from bgai.engines.base import run_error
from bgai.engines.graph_cache import GraphCache
from bgai.engines.memory import free_memory
from bgai.engines.openvino_runtime import GUARD, SETTINGS, Model, read_graph
from bgai.errors import EngineError, WeightsError
from bgai.network.config import SCALES
from bgai.types import Size, Tiles


class OnnxEngine:
    """Runs tiles of any size on all cores, in float32; calls of several threads wait for each other."""

    name = "openvino"
    device = "cpu"
    bytes_per_pixel = 16_500

    def __init__(self, onnx: Path, cache: Path | None = None) -> None:
        """Compile the graph, or take what an earlier call left in the folder `cache`.

        Raises:
            WeightsError: The file cannot be read, or holds no graph that enlarges images.
        """
        try:
            key = hashlib.sha256(onnx.read_bytes()).hexdigest()
            self._graph = GraphCache(cache).compile(lambda: _read(onnx), key, SETTINGS)
            self._request = self._graph.create_infer_request()
        except OSError as error:
            raise WeightsError(f"{onnx}: cannot be read: {error.strerror or error}") from error
        except RuntimeError as error:
            raise WeightsError(f"{onnx}: damaged, or not an ONNX graph that OpenVINO understands") from error
        self._onnx = onnx
        self._lock = threading.Lock()
        self.scale = self._find_scale()

    def __call__(self, tiles: Tiles, count: int = 1) -> Tiles:
        result = self._infer(tiles)
        batch, _, height, width = tiles.shape
        if result.shape != (batch, 3, height * self.scale, width * self.scale):
            raise WeightsError(
                f"{self._onnx}: gives {result.shape} for an image of {width} x {height} pixels; expected ×{self.scale}"
                " at any size, as from bgai export"
            )
        return result

    def _infer(self, tiles: Tiles) -> Tiles:
        GUARD.check()
        with self._lock:
            try:
                result: Tiles = self._request.infer([np.ascontiguousarray(tiles)], share_inputs=True)[0]
            except (RuntimeError, MemoryError) as error:
                raise run_error(error, "OpenVINO", (tiles.shape[-2], tiles.shape[-1])) from error
        return result

    def prepare(self, size: Size, count: int) -> None:
        """Any size runs at once."""

    def release(self) -> None:
        if GUARD.is_forked():
            return
        with self._lock:
            self._graph.release_memory()

    def rest(self) -> None:
        self.release()

    def free_memory(self) -> int:
        return free_memory()

    def _find_scale(self) -> int:
        """Enlarge one pixel to find the scale, which a graph for any height and width does not state."""
        try:
            result = self._infer(np.zeros((1, 3, 1, 1), np.float32))
        except EngineError as error:
            raise _not_ours(self._onnx) from error
        _check_shape(self._onnx, result.shape)
        if result.dtype != np.float32:
            raise WeightsError(f"{self._onnx}: gives {result.dtype}; expected float32, as from bgai export")
        return int(result.shape[2])


def _read(onnx: Path) -> Model:
    """Read a graph, and check the shape of its output for one pixel before that is computed."""
    small = read_graph(onnx)
    try:
        small.reshape([1, 3, 1, 1])
        shape = small.output(0).get_partial_shape()
    except (RuntimeError, IndexError) as error:  # the latter for a graph without a result
        raise _not_ours(onnx) from error
    if shape.is_static:
        _check_shape(onnx, tuple(shape.to_shape()))
    return read_graph(onnx)


def _not_ours(onnx: Path) -> WeightsError:
    return WeightsError(f"{onnx}: does not take B x 3 x H x W images of any size; expected a graph from bgai export")


def _check_shape(onnx: Path, shape: tuple[int, ...]) -> None:
    """Refuse a graph whose output for one pixel has this shape, unless it is 1 x 3 x s x s."""
    if len(shape) != 4 or shape[:2] != (1, 3) or shape[2] != shape[3] or shape[2] not in SCALES:
        raise WeightsError(
            f"{onnx}: gives {shape} for an image of one pixel; expected 1 x 3 x s x s for an s of 2, 3 or 4, as"
            " from bgai export"
        )
