"""The engine of the core install for exported graphs: an ONNX graph on the CPU through OpenVINO."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import psutil

from bgai.atomic_files import make_folder
from bgai.engines.openvino_engine import SETTINGS, core, no_memory
from bgai.errors import EngineError, WeightsError
from bgai.network.config import SCALES
from bgai.types import Tiles


class OnnxEngine:
    """Runs tiles of any size on all cores, in float32."""

    name = "openvino"
    device = "cpu"
    bytes_per_pixel = 16_500

    def __init__(self, onnx: Path, cache: Path | None = None) -> None:
        """Compile the graph, or take what an earlier call left in the folder `cache`."""
        settings = dict(SETTINGS)
        # OpenVINO knows a compiled graph by path, size and time: the content has to be told apart here.
        if cache and (folder := make_folder(cache / hashlib.sha256(onnx.read_bytes()).hexdigest()[:16])):
            settings["CACHE_DIR"] = str(folder)
        try:
            self._graph = core().compile_model(onnx, "CPU", settings)
        except RuntimeError:
            raise WeightsError(f"{onnx}: damaged, or not an ONNX graph that OpenVINO understands") from None
        self._request = self._graph.create_infer_request()
        self.scale = self._find_scale(onnx)

    def __call__(self, tiles: Tiles) -> Tiles:
        try:
            result: Tiles = self._request.infer([np.ascontiguousarray(tiles)], share_inputs=True)[0]
        except RuntimeError:
            raise no_memory((tiles.shape[-2], tiles.shape[-1])) from None
        return result

    def prepare(self, size: tuple[int, int], count: int) -> None:
        """Any size runs at once."""

    def release(self) -> None:
        self._graph.release_memory()

    def rest(self) -> None:
        self.release()

    def free_memory(self) -> int:
        return psutil.virtual_memory().available

    def _find_scale(self, onnx: Path) -> int:
        """A graph of free height and width does not say its scale; one pixel tells."""
        try:
            shape = self(np.zeros((1, 3, 1, 1), np.float32)).shape
        except EngineError:
            raise WeightsError(
                f"{onnx}: does not take B x 3 x H x W images of any size; expected a graph from bgai export"
            ) from None
        if len(shape) != 4 or shape[:2] != (1, 3) or shape[2] != shape[3] or shape[2] not in SCALES:
            raise WeightsError(
                f"{onnx}: gives {shape} for an image of one pixel; expected 1 x 3 x s x s for an s of 2, 3 or 4, as"
                " from bgai export"
            )
        return int(shape[2])
