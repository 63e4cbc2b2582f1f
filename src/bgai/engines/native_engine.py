"""The engine `native`: OpenVINO runs the network on the CPU, but for its blocks, which a kernel compiled here runs."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.engines.native_blocks import NativeBlocks
from bgai.engines.native_library import load_library
from bgai.engines.openvino_engine import OpenVinoEngine
from bgai.engines.openvino_graph import build_graph
from bgai.engines.openvino_runtime import COMPILING, InferRequest, Model, Node, Op, op
from bgai.network.config import NetworkConfig
from bgai.types import Size, Tiles

_BYTES_PER_PIXEL = 5_600


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
        self._operators: list[_Block] = []

    def _compile(self, size: Size | None) -> InferRequest:
        try:
            return super()._compile(size)
        finally:
            self._cut_off()

    def _build(self, size: Size | None) -> Model:
        return build_graph(self._tensors, self._config, size, block=self._add_block)

    def _add_block(self, features: Node, group: int, index: int) -> Node:
        channels_last = op.transpose(features, np.array((0, 2, 3, 1)))  # as convolutions hold them
        block = _Block(weakref.ref(self._blocks), (group, index), self._operators, [channels_last])
        return op.transpose(block, np.array((0, 3, 1, 2)))

    def _orders(self, size: Size) -> Mapping[str, NDArray[np.int32]]:
        return {}  # the kernel cuts the image into windows itself

    def _enlarge(self, tile: Tiles, request: InferRequest) -> Tiles:
        threads = request.get_compiled_model().get_property("INFERENCE_NUM_THREADS")
        self._blocks.reserve((tile.shape[-2], tile.shape[-1]), threads)
        try:
            return super()._enlarge(tile, request)
        finally:
            self._cut_off()  # the graph for any size copies its operators for each new size

    def _cut_off(self) -> None:
        """Take the new operators out of their graphs: OpenVINO frees no operator of Python's, nor what is before it."""
        with COMPILING:
            for operator in self._operators:
                operator.cut_off()
            self._operators.clear()

    def _release(self) -> None:
        super()._release()
        self._blocks.release()


class _Block(Op):  # type: ignore[misc]  # OpenVINO gives mypy no types
    """A block as an operator of OpenVINO's: 1 x H x W x C to the same."""

    def __init__(
        self,
        blocks: weakref.ref[NativeBlocks],
        place: tuple[int, int],
        operators: list[_Block],
        inputs: list[Node],
    ) -> None:
        self._blocks, self._place, self._operators = blocks, place, operators
        super().__init__(self, inputs)
        operators.append(self)

    def cut_off(self) -> None:
        """Forget the graph that this operator was built into; the compiled graph has no need of it."""
        self.set_arguments([op.parameter(self.get_input_partial_shape(0), np.float32).output(0)])

    def validate_and_infer_types(self) -> None:
        self.set_output_type(0, self.get_input_element_type(0), self.get_input_partial_shape(0))

    def clone_with_new_inputs(self, inputs: list[Node]) -> _Block:
        return _Block(self._blocks, self._place, self._operators, inputs)

    def has_evaluate(self) -> bool:
        return True

    def evaluate(self, outputs: list[Any], inputs: list[Any]) -> bool:
        blocks = self._blocks()
        if blocks:
            blocks.compute(inputs[0].data, outputs[0].data, *self._place)
        return blocks is not None
