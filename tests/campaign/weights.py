"""Damaged and odd files of weights and graphs."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from safetensors.numpy import save
from support import filled_network, released, save_repeating_graph, texture

from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI
from bgai.types import Tensors
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.catalogue import describe
from bgai.weights.conversion import convert_weights
from bgai.weights.pth_file import read_pth
from bgai.weights.reading import read_weights
from bgai.weights.shapes import tensor_shapes
from bgai.weights.sources import find_weights
from campaign.mutations import damaged
from campaign.runner import FaultError

_TINY = {"channels": 8, "broadcast_channels": 4, "local_channels": 2, "groups": 1, "blocks": 1}
_ODD: tuple[Any, ...] = (
    *(
        4.0,
        "4",
        None,
        True,
        -1,
        0,
        10**9,
        10**30,
        1e308,
        float("nan"),
        [],
        [[]],
        {},
        "x" * 500,
        "\x1b[31m",
        "é",
        "../../x",
    ),
)


class WeightsFiles:
    """Safetensors, `.pth` and states of trainings: damaged bytes, odd tensors, odd metadata."""

    title = "damaged or odd weights: .safetensors, .pth, .state"
    seconds = 60.0

    def __init__(self, folder: Path) -> None:
        tiny = BGAI(NetworkConfig(2, **_TINY)).eval()
        self._tiny: Tensors = {name: tensor.numpy() for name, tensor in tiny.state_dict().items()}
        self._released = released(filled_network(2).state_dict())
        path = folder / "whole.pth"
        torch.save({"params_ema": self._released}, path)
        self._pth, self._pth_tensors = path.read_bytes(), read_pth(path, "params_ema")
        options = {"scale": 2, "network_g": _TINY}
        torch.save({"iteration": 1, "options": json.dumps(options), "average": tiny.state_dict()}, folder / "a.state")
        self._state = (folder / "a.state").read_bytes()

    def attempt(self, random: Random, folder: Path) -> bool:
        makes = [self._safetensors, self._settings, self._odd_arrays, self._pth_file, self._odd_tensors]
        path = random.choice([*makes, self._state_file])(random, folder)
        config, tensors = read_weights(path)
        if {name: tensor.shape for name, tensor in tensors.items()} != tensor_shapes(config):
            raise FaultError("accepted with wrong shapes")
        if not all(np.isfinite(tensor).all() and tensor.dtype == np.float32 for tensor in tensors.values()):
            raise FaultError("accepted with numbers that are not finite")
        found = find_weights(path)
        describe(path)
        convert_weights(found, folder / "copy.safetensors")
        copied = read_weights(folder / "copy.safetensors")
        if copied[0] != config or any((copied[1][name] != tensor).any() for name, tensor in tensors.items()):
            raise FaultError("converted to other weights")
        return True

    def _safetensors(self, random: Random, folder: Path) -> Path:
        return self._save(folder, damaged(save(self._tiny, _header()), random))

    def _settings(self, random: Random, folder: Path) -> Path:
        """Metadata that say something else, or nothing that can be understood."""
        header = _header(
            halo="48",
            history=json.dumps([{"minutes": 1.0}]),
            scores='{"Set5": {"psnr": 30.0}}',
            minutes="3",
            purpose="x",
        )
        key = random.choice(sorted(header))
        if key == "config" and random.randrange(4):
            config = json.loads(header[key])
            config[random.choice([*config, "unknown"])] = random.choice(_ODD)
            header[key] = json.dumps(config)
        else:
            odd = (
                json.dumps(random.choice(_ODD)),
                "[" * 2000,
                "",
                "NaN",
                '{"a": {"psnr": 1e999}}',
                '[{"minutes": -1}]',
            )
            header[key] = random.choice((random.choice(odd), damaged(header[key].encode(), random).decode("latin-1")))
        return self._save(folder, save(self._tiny, header))

    def _odd_arrays(self, random: Random, folder: Path) -> Path:
        tensors = dict(self._tiny)
        name = random.choice(sorted(tensors))
        array = tensors[name]
        change = random.choice(_ARRAYS)
        if (changed := change(array)) is None:
            del tensors[name]
        else:
            tensors[name] = changed
        if not random.randrange(10):
            tensors["unknown"] = array
        return self._save(folder, save(tensors, _header()))

    def _save(self, folder: Path, content: bytes) -> Path:
        path = folder / "a.safetensors"
        path.write_bytes(content)
        return path

    def _pth_file(self, random: Random, folder: Path) -> Path:
        path = folder / "a.pth"
        path.write_bytes(damaged(self._pth, random))
        found = read_pth(path, "params_ema")
        # The zip has checksums: what is accepted is what was written, but for names.
        if any((found[name] != self._pth_tensors[name]).any() for name in found.keys() & self._pth_tensors.keys()):
            raise FaultError("a damaged .pth gives other tensors")
        return path

    def _odd_tensors(self, random: Random, folder: Path) -> Path:
        """What PyTorch can save beside plain tensors."""
        tensors: dict[str, Any] = dict(self._released)
        name = random.choice(sorted(tensors))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PyTorch, on what it is asked to make here
            tensors[name] = random.choice(_TENSORS)(tensors[name])
            content = random.choice(
                (
                    {"params_ema": tensors},
                    {"params_ema": tensors},
                    {"params_ema": tensors},
                    {"params": tensors},
                    tensors,
                    [tensors],
                    {"params_ema": list(tensors.values())},
                    {"params_ema": {"x": tensors}},
                    {
                        "params_ema": tensors,
                        "optimizer": torch.optim.Adam([torch.nn.Parameter(torch.ones(2))]).state_dict(),
                    },
                )
            )
            path = folder / "a.pth"
            if not random.randrange(10):
                torch.jit.save(torch.jit.script(torch.nn.Conv2d(3, 3, 1)), path)
            else:
                old = not random.randrange(10)
                torch.save(content, path, _use_new_zipfile_serialization=not old)
        return path

    def _state_file(self, random: Random, folder: Path) -> Path:
        path = folder / "a.state"
        path.write_bytes(damaged(self._state, random))
        return path


def _header(**more: str) -> dict[str, str]:
    return {"format": "bgai-1", "config": json.dumps({"scale": 2, "window": 16, "mlp_ratio": 2, **_TINY}), **more}


_ARRAYS: tuple[Callable[[Any], Any], ...] = (
    lambda array: None,
    lambda array: array.astype(np.float64),
    lambda array: array.astype(np.float64) * 1e300,
    lambda array: array.astype(np.float16),
    lambda array: array.astype(np.int64),
    lambda array: array.astype(np.uint8),
    lambda array: array > 0,
    lambda array: np.full_like(array, np.nan),
    lambda array: np.full_like(array, np.inf),
    lambda array: np.full_like(array, 3e38),
    lambda array: array[..., None],
    lambda array: array.reshape(-1),
    lambda array: array[:0],
    lambda array: np.zeros((0, 10**6), np.float32),
)
_TENSORS: tuple[Callable[[torch.Tensor], Any], ...] = (
    lambda tensor: tensor.bfloat16(),
    lambda tensor: tensor.half(),
    lambda tensor: tensor.double(),
    lambda tensor: tensor.to(torch.float8_e4m3fn),
    lambda tensor: tensor.to(torch.complex64),
    lambda tensor: tensor.to_sparse(),
    lambda tensor: torch.eye(4).to_sparse_csr(),
    lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    lambda tensor: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    lambda tensor: tensor.to("meta"),
    lambda tensor: torch.nn.Parameter(tensor),
    lambda tensor: tensor.clone().requires_grad_(),
    lambda tensor: tensor.expand(1000, *tensor.shape),
    lambda tensor: torch.zeros(1).expand(10**9),
    lambda tensor: tensor.int(),
    lambda tensor: tensor.numpy(),
    lambda tensor: tensor * float("nan"),
    lambda tensor: 3.0,
    lambda tensor: "text",
    lambda tensor: None,
    lambda tensor: {"a": tensor},
    lambda tensor: torch.zeros(3, dtype=torch.complex64).conj(),
    lambda tensor: torch.nn.Conv2d(1, 1, 1),
)


class Graphs:
    """ONNX files: damaged bytes, and whole ones that do something else than enlarging."""

    title = "damaged or odd .onnx graphs, loaded and run"
    seconds = 90.0

    def __init__(self, folder: Path) -> None:
        save_repeating_graph(folder / "whole.onnx", 0.1)
        self._whole = (folder / "whole.onnx").read_bytes()
        self._image = texture(8, 9)

    def attempt(self, random: Random, folder: Path) -> bool:
        path = folder / "a.onnx"
        if random.randrange(3):
            path.write_bytes(damaged(self._whole, random))
        else:
            onnx.save(random.choice(_GRAPHS)(random), path)
        upscaler = Upscaler(weights=path, engine="openvino")
        enlarged = upscaler.upscale(self._image)
        if enlarged.shape != (8 * upscaler.scale, 9 * upscaler.scale, 3):
            raise FaultError(f"gives {enlarged.shape}")
        return True


def _graph(*nodes: Any, outputs: int = TensorProto.FLOAT, shape: Any = None, constants: Any = ()) -> Any:
    ends = [
        helper.make_tensor_value_info("lr", TensorProto.FLOAT, [None] * 4),
        helper.make_tensor_value_info("sr", outputs, shape or [None] * 4),
    ]
    graph = helper.make_graph(list(nodes), "graph", ends[:1], ends[1:], list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _resized(random: Random) -> Any:
    factor = random.choice((2.0, 3.0, 4.0, 1.0, 0.5, 5.0, 40000.0, -1.0, float("nan")))
    sizes = helper.make_tensor("scales", TensorProto.FLOAT, (4,), [1.0, 1.0, factor, factor])
    return _graph(helper.make_node("Resize", ["lr", "", "scales"], ["sr"], mode="nearest"), constants=[sizes])


def _constant(random: Random) -> Any:
    shape = random.choice(((1, 3, 2, 2), (1, 3, 4, 4), (1,), (1, 3, 20000, 20000)))
    values = helper.make_tensor("shape", TensorProto.INT64, (len(shape),), shape)
    return _graph(helper.make_node("ConstantOfShape", ["shape"], ["sr"]), shape=shape, constants=[values])


def _cast(random: Random) -> Any:
    kind = random.choice(
        (TensorProto.INT64, TensorProto.UINT8, TensorProto.BOOL, TensorProto.FLOAT16, TensorProto.DOUBLE)
    )
    return _graph(
        helper.make_node("Concat", ["lr"] * 4, ["four"], axis=1),
        helper.make_node("DepthToSpace", ["four"], ["big"], blocksize=2),
        helper.make_node("Cast", ["big"], ["sr"], to=kind),
        outputs=kind,
    )


def _not_finite(random: Random) -> Any:
    return _graph(
        helper.make_node("Concat", ["lr"] * 4, ["four"], axis=1),
        helper.make_node("DepthToSpace", ["four"], ["big"], blocksize=2),
        helper.make_node(random.choice(("Log", "Sqrt", "Reciprocal", "Exp")), ["minus"], ["sr"]),
        helper.make_node("Mul", ["big", "factor"], ["minus"]),
        constants=[helper.make_tensor("factor", TensorProto.FLOAT, (1,), [random.choice((-1.0, 1e38, 0.0))])],
    )


_GRAPHS = (_resized, _constant, _cast, _not_finite)
