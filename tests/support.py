"""Pictures, networks and servers that several tests make."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper
from PIL import Image

from bgai.datasets.matlab_resize import imresize
from bgai.engines.native_build import find_compiler, level_here
from bgai.errors import EngineError
from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI
from bgai.types import EngineName
from bgai.weights.pth_export import released_tensors
from bgai.weights.reading import read_weights
from bgai.weights.safetensors_file import write_weights
from bgai.weights.sources import SHIPPED


def _runs_native() -> bool:
    try:
        return bool(level_here() and find_compiler())
    except EngineError:
        return False


NEEDS_COMPILER = pytest.mark.skipif(not _runs_native(), reason="the engine native is compiled by g++, on Linux")
NATIVE = pytest.param("native", marks=NEEDS_COMPILER)
CPU_ENGINE: EngineName = "native" if _runs_native() else "openvino"
"""What `auto` picks on a CPU."""


def texture(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """A picture with edges, gradients and fine detail; H x W x channels."""
    y, x = np.mgrid[:height, :width]
    random = np.random.default_rng(seed)
    planes = []
    for _ in range(channels):
        fx, fy, phase = random.uniform(0.05, 0.9, 3)
        wave = np.sin(x * fx + 3 * np.sin(y * 0.05) + phase) * np.cos(y * fy)
        edges = ((x // 11 + y // 17) % 2) * 0.6
        planes.append(0.5 + 0.3 * wave + 0.3 * (edges - 0.3) + 0.1 * (x / width - 0.5))
    image: NDArray[np.uint8] = np.rint(np.clip(np.stack(planes, axis=-1), 0, 1) * 255).astype(np.uint8)
    return image


def filled_network(scale: int) -> BGAI:
    """A network whose weights are the same on every machine and PyTorch."""
    network = BGAI(NetworkConfig(scale))
    random = np.random.default_rng(7)
    with torch.no_grad():
        for parameter in network.parameters():
            fan_in = max(parameter[0].numel(), 1)
            values = random.standard_normal(parameter.shape, np.float32) * 0.6 / fan_in**0.5
            parameter.copy_(torch.from_numpy(values))
    return network.eval()


def golden_input(case: str) -> torch.Tensor:
    shapes = {
        "square": (1, 3, 16, 16),
        "ragged": (1, 3, 19, 37),
        "tiny": (1, 3, 5, 7),
        "one": (1, 3, 1, 1),
        "batch": (2, 3, 16, 8),
    }
    return torch.from_numpy(np.random.default_rng(3).random(shapes[case], np.float32))


def released(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of ours as the authors' checkpoints name and shape them."""
    arrays = released_tensors({name: tensor.detach().double().numpy() for name, tensor in tensors.items()})
    pairs = zip(arrays.items(), tensors.values(), strict=True)
    return {name: torch.from_numpy(array).to(tensor.dtype) for (name, array), tensor in pairs}


def copied(path: Path, **metadata: str) -> Path:
    """The weights of the package at ×2, with other metadata."""
    write_weights(*read_weights(SHIPPED / "bgai_x2.safetensors"), path, metadata)
    return path


def save_graph(path: Path, nodes: list[onnx.NodeProto], **constants: list[float]) -> None:
    """An ONNX graph from `lr` to `sr` of four dimensions, with vectors of constants."""
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 4) for name in ("lr", "sr")]
    tensors = [
        helper.make_tensor(name, onnx.TensorProto.FLOAT, (1, len(values), 1, 1), values)
        for name, values in constants.items()
    ]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def save_repeating_graph(path: Path, shift: float) -> None:
    """Enlarges twice by repeating pixels, brighter by `shift`."""
    repeated = helper.make_node("Concat", ["shifted"] * 4, ["four"], axis=1)
    spread = helper.make_node("DepthToSpace", ["four"], ["sr"], blocksize=2)
    save_graph(path, [helper.make_node("Add", ["lr", "shift"], ["shifted"]), repeated, spread], shift=[shift])


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served_folder(folder: Path) -> Iterator[str]:
    """The address of a server on this machine."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def bgai_command(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line, as a person uses it: in its own process."""
    return subprocess.run(
        [sys.executable, "-m", "bgai", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "COLUMNS": "80", **environment},
    )


def picture(path: Path, height: int = 12, width: int = 18) -> Path:
    """Save a picture."""
    Image.fromarray(texture(height, width)).save(path)
    return path


PAIR_SIZES = [(60, 48), (40, 72), (36, 36)]  # high resolution


def save_pairs(folder: Path) -> Path:
    """High-resolution images of `PAIR_SIZES` and their halves, in `hr` and `x2`."""
    (folder / "hr/deep").mkdir(parents=True)
    (folder / "x2/deep").mkdir(parents=True)
    for index, size in enumerate(PAIR_SIZES):
        name = f"{'deep/' if index else ''}{index}.png"
        hr = texture(*size, seed=index)
        Image.fromarray(hr).save(folder / "hr" / name)
        Image.fromarray(imresize(hr, 1 / 2)).save(folder / "x2" / name)
    return folder
