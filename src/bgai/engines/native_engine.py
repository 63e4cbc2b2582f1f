"""The engine `native`: OpenVINO runs the network on the CPU, but for its blocks, which a kernel compiled here runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.engines.native_blocks import NativeBlocks
from bgai.engines.native_library import load_library
from bgai.engines.openvino_engine import OpenVinoEngine
from bgai.engines.openvino_graph import build_graph
from bgai.engines.openvino_runtime import InferRequest, Model, Node, Op, op
from bgai.network.config import NetworkConfig
from bgai.types import Size, Tiles

_BYTES_PER_PIXEL = 6_600


class NativeEngine(OpenVinoEngine):
    """Runs tiles of any size on all cores, in float32; calls of several threads wait for each other.

    Graphs with such blocks cannot be kept on disk: they are compiled at each start, in a tenth of the time of others.

    Args:
        config: The network's settings: the paper's.
        tensors: Its weights.
        cache: The folder where the compiled kernel is kept; None keeps it nowhere.

    Raises:
        EngineError: The kernel cannot be compiled, or computes no network of these settings.
    """

    name = "native"
    runtime = "the engine native"

    def __init__(self, config: NetworkConfig, tensors: Mapping[str, NDArray[np.float32]], cache: Path | None) -> None:
        super().__init__(config, tensors, None)
        self._settings["ENABLE_CPU_PINNING"] = "NO"  # the kernel's threads would inherit that one CPU
        self.bytes_per_pixel = _BYTES_PER_PIXEL
        self._blocks = NativeBlocks(load_library(cache), config, tensors)

    def _build(self, size: Size | None) -> Model:
        return build_graph(self._tensors, self._config, size, block=self._add_block)

    def _add_block(self, features: Node, group: int, index: int) -> Node:
        channels_last = op.transpose(features, np.array((0, 2, 3, 1)))  # as convolutions hold them
        return op.transpose(_Block(self._blocks, group, index, [channels_last]), np.array((0, 3, 1, 2)))

    def _orders(self, size: Size) -> Mapping[str, NDArray[np.int32]]:
        return {}  # the kernel cuts the image into windows itself

    def _enlarge(self, tile: Tiles, request: InferRequest) -> Tiles:
        threads = request.get_compiled_model().get_property("INFERENCE_NUM_THREADS")
        self._blocks.reserve((tile.shape[-2], tile.shape[-1]), threads)
        return super()._enlarge(tile, request)

    def _release(self) -> None:
        super()._release()
        self._blocks.release()


class _Block(Op):  # type: ignore[misc]  # OpenVINO gives mypy no types
    """A block as an operator of OpenVINO's: 1 x H x W x C to the same."""

    def __init__(self, blocks: NativeBlocks, group: int, index: int, inputs: list[Node]) -> None:
        self._blocks, self._place = blocks, (group, index)
        super().__init__(self, inputs)

    def validate_and_infer_types(self) -> None:
        self.set_output_type(0, self.get_input_element_type(0), self.get_input_partial_shape(0))

    def clone_with_new_inputs(self, inputs: list[Node]) -> _Block:
        return _Block(self._blocks, *self._place, inputs)

    def has_evaluate(self) -> bool:
        return True

    def evaluate(self, outputs: list[Any], inputs: list[Any]) -> bool:
        self._blocks.compute(inputs[0].data, outputs[0].data, *self._place)
        return True
