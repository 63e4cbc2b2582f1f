"""Export of a network to the ONNX graph that the core install runs. Needs the `[export]` extra."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from bgai.atomic_files import whole_or_nothing
from bgai.engines.onnx_engine import OnnxEngine
from bgai.errors import WeightsError
from bgai.network.model import BGAI
from bgai.types import Precision
from bgai.weights.checkpoint import build_network
from bgai.weights.reading import blended_weights
from bgai.weights.sources import Weights

OPSET = 20
TOLERANCE: Mapping[Precision, float] = {"float32": 1e-4, "half": 0.01}
# Whole windows, padded ones, a batch, and less than a window.
_CHECKED_SHAPES = ((1, 3, 48, 64), (1, 3, 37, 50), (2, 3, 16, 33), (1, 3, 1, 1))


def export_onnx(weights: Weights, target: Path, overwrite: bool = False, precision: Precision = "float32") -> float:
    """Write the ONNX graph of weights and check it against the network.

    The graph takes `lr`, B x 3 x H x W of any size, and gives `sr`, both in float32; its metadata say `scale` and
    `halo`.

    Args:
        weights: Of a file, or mixed from two.
        target: The file to write.
        overwrite: Whether a file that exists may be replaced.
        precision: `half` stores and computes in float16, for GPUs and NPUs.

    Returns:
        The largest difference found between the graph and the network.

    Raises:
        WeightsError: The weights cannot be loaded, or the graph differs by more than 1e-4, or 0.01 in half precision;
            nothing is written then.
        OutputError: `target` exists and `overwrite` is false, or it cannot be written.
    """
    network = build_network(*blended_weights(weights))
    model = _trace(_Half(copy.deepcopy(network)) if precision == "half" else network)
    onnx.helper.set_model_props(model, {"scale": str(network.config.scale), "halo": str(weights.halo)})
    with whole_or_nothing(target, overwrite) as partial:
        onnx.save(model, partial)
        difference = _difference(network, partial)
        if not difference <= TOLERANCE[precision]:
            raise WeightsError(f"{weights.file}: its graph differs from the network by {difference:.1e}: not written")
    return difference


class _Half(nn.Module):
    """A network in float16 between casts from and to float32."""

    def __init__(self, network: BGAI) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, x: Tensor) -> Tensor:
        enlarged: Tensor = self.network(x.half()).float()
        return enlarged


def _trace(network: nn.Module) -> onnx.ModelProto:
    size = torch.export.Dim.AUTO
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages that are not needed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            network,
            (torch.rand(2, 3, 40, 56),),
            input_names=["lr"],
            output_names=["sr"],
            dynamic_shapes=({0: size, 2: size, 3: size},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    for node in model.graph.node:  # source lines and paths of the machine it is exported on
        node.doc_string = ""
        del node.metadata_props[:]
    return model


def _difference(network: BGAI, onnx_file: Path) -> float:
    engine = OnnxEngine(onnx_file)
    generator = np.random.default_rng(0)
    differences = []
    for shape in _CHECKED_SHAPES:
        image = generator.random(shape, np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(image)).numpy()
        differences.append(float(np.abs(engine(image) - expected).max()))
    return max(differences)
