"""What runs the network: one narrow interface, the runtimes behind it, and the choice between them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import Protocol

import numpy as np

from bgai.errors import EngineError, UsageError, WeightsError
from bgai.network.config import NetworkConfig
from bgai.types import Tensors, Tiles
from bgai.weights.sources import Weights, cache_folder

ENGINES = ("auto", "openvino", "torch")
PRECISIONS = ("float32", "half")


class Engine(Protocol):
    """Enlarges batches of tiles; knows nothing of files, colour or tiling."""

    name: str
    """The runtime, as `--engine` names it."""
    device: str
    """Where it runs, as `--device` names it."""
    scale: int
    bytes_per_pixel: int
    """Working memory for each low-resolution pixel of a batch, measured."""

    def prepare(self, size: tuple[int, int], count: int) -> None:
        """Get ready for so many tiles of a height and width; without it the first of them may take longer."""
        ...

    def __call__(self, tiles: Tiles) -> Tiles:
        """Enlarge B x 3 x h x w RGB in [0, 1], any h and w, to B x 3 x sh x sw, not clamped.

        Raises:
            EngineError: The tiles do not fit into the device's memory.
        """
        ...

    def release(self) -> None:
        """Give back the memory of the last tiles; the next ones take it anew."""
        ...

    def rest(self) -> None:
        """Make room in a CPU's memory for another engine's tiles; the next ones here may take longer to begin."""
        ...

    def free_memory(self) -> int:
        """Bytes that are free where the tiles are worked on."""
        ...


def has_torch() -> bool:
    """Whether the extra `[torch]` is installed; loads nothing."""
    return importlib.util.find_spec("torch") is not None


def torch_accelerator() -> str | None:
    """The GPU that an installed PyTorch sees, `cuda` or `mps`."""
    if not has_torch() or importlib.metadata.version("torch").endswith("+cpu"):  # which takes a second to load
        return None
    try:
        import torch
    except (ImportError, OSError):  # a broken install must not keep the CPU from working
        return None
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else None


def choose(weights: Weights, engine: str = "auto", device: str = "auto") -> tuple[str, str, str]:
    """Decide which runtime to use where.

    Args:
        weights: What is to be run.
        engine: `auto`, `openvino` or `torch`.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`, …

    Returns:
        Engine, device, and the reason in words.

    Raises:
        UsageError: An unknown engine.
        EngineError: The engine cannot run these weights, or not on that device.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r}: expected one of {', '.join(ENGINES)}")
    if engine == "auto":
        engine, device, reason = _choose_freely(weights, device)
    elif engine == "openvino":
        device, reason = "cpu" if device == "auto" else device, "asked for"
    else:
        device, reason = (torch_accelerator() or "cpu") if device == "auto" else device, "asked for"
    if weights.is_graph and (engine, device) != ("openvino", "cpu"):
        raise EngineError(f"{weights.name} is an ONNX graph, which runs on the CPU alone; use --engine openvino")
    if engine == "openvino" and device != "cpu":
        raise EngineError(f"device {device!r}: OpenVINO runs on the CPU here; use --engine torch for a GPU")
    if engine == "torch" and not has_torch():
        raise EngineError(f"{reason}, which needs PyTorch: install it with  pip install 'bgai[torch]'")
    return engine, device, reason


def _choose_freely(weights: Weights, device: str) -> tuple[str, str, str]:
    if weights.is_graph:
        return "openvino", "cpu" if device == "auto" else device, f"{weights.name} is an ONNX graph"
    if device not in ("auto", "cpu"):
        return "torch", device, f"device {device} was asked for"
    if device == "auto" and (gpu := torch_accelerator()):
        return "torch", gpu, "PyTorch sees a GPU"
    return "openvino", "cpu", "the fastest on a CPU"


def open_engine(
    weights: Weights,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "float32",
    compile: bool = False,
) -> Engine:
    """Start the runtime that `choose` decides on; weights, engine, device and errors as there.

    Args:
        weights: What is to be run.
        engine: `auto`, `openvino` or `torch`.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`, …
        precision: `float32`; or `half`, which is float16 on CUDA and bfloat16 on CPUs that compute in it.
        compile: Compile the network first; on CUDA alone.

    Raises:
        UsageError: An unknown precision.
        WeightsError: The weights' file is damaged or not of this network.
    """
    check_precision(precision)
    name, place, _ = choose(weights, engine, device)
    on_cuda = name == "torch" and place.startswith("cuda")
    if compile and not on_cuda:
        raise EngineError(f"--compile is for --device cuda alone; {name} on {place} does without")
    if precision == "half" and not on_cuda and (name != "openvino" or weights.is_graph):
        what = "an ONNX graph" if weights.is_graph else f"{name} on {place}"
        raise EngineError(f"--precision half: {what} computes in float32 alone; use --device cuda or --engine openvino")
    if name == "torch":
        from bgai.engines.torch_engine import TorchEngine

        return TorchEngine(*blended_weights(weights), place, precision, compile)
    cache = cache_folder() / "openvino"
    if weights.is_graph:
        from bgai.engines.onnx_engine import OnnxEngine

        return OnnxEngine(weights.file, cache)
    from bgai.engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(*blended_weights(weights), cache, precision)


def check_precision(precision: str) -> None:
    """Refuse a precision that there is not.

    Raises:
        UsageError: It is not one of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r}: expected one of {', '.join(PRECISIONS)}")


def blended_weights(weights: Weights) -> tuple[NetworkConfig, Tensors]:
    """Settings and tensors of weights that are no graph, of both files where there are two.

    Raises:
        WeightsError: A file is damaged or not of this network, or the two are not of the same network.
    """
    from bgai.weights.safetensors_file import read_weights

    config, tensors = read_weights(weights.file, weights.key)
    if weights.other is None:
        return config, tensors
    other_config, others = read_weights(weights.other, weights.key)
    if other_config != config:
        raise WeightsError(f"{weights.other}: not of the same network as {weights.file}")
    clean = np.float32(weights.clean)
    return config, {name: (1 - clean) * tensor + clean * others[name] for name, tensor in tensors.items()}
