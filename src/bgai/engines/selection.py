"""Which engine runs weights, and where: the choice, its reason, and the start."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import logging
from pathlib import Path
from typing import get_args

from bgai._version import __version__
from bgai.atomic_files import make_folder
from bgai.engines.base import Engine
from bgai.engines.native_library import load_library, reason_against
from bgai.engines.onnxruntime_engine import OnnxRuntimeEngine, accelerators, has_onnxruntime
from bgai.errors import EngineError, MissingExtraError, UsageError
from bgai.network.config import NetworkConfig
from bgai.types import EngineName, Precision, Tensors
from bgai.weights.reading import blended_weights
from bgai.weights.sources import Weights, cache_folder

ENGINES: tuple[EngineName, ...] = get_args(EngineName)
OPENVINO_DEVICES = ("gpu", "npu")
ONNXRUNTIME_DEVICES = ("dml", "coreml")
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

log = logging.getLogger(__name__)


def has_torch() -> bool:
    """Whether the extra `[torch]` is installed; loads nothing."""
    spec = importlib.util.find_spec("torch")
    return spec is not None and spec.origin is not None  # any folder of that name has a spec


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


def choose(
    weights: Weights,
    engine: EngineName = "auto",
    device: str = "auto",
    precision: Precision = "float32",
    config: NetworkConfig | None = None,
) -> tuple[EngineName, str, str]:
    """Decide which engine to use, and where.

    On a CPU, the library of the engine `native` is loaded, and compiled first where that is needed.

    Args:
        weights: What is to be run.
        engine: `auto`, `openvino`, `native`, `torch` or `onnxruntime`.
        device: `auto`, `cpu`; PyTorch's `cuda`, `cuda:1`, `mps`, …; OpenVINO's `gpu`, `gpu.1`, `npu`; ONNX Runtime's
            `dml`, `coreml`.
        precision: `float32` or `half`.
        config: The network's settings, if they were read already.

    Returns:
        Engine, device, and the reason in words.

    Raises:
        UsageError: An unknown engine or precision.
        WeightsError: The network's settings have to be known, and the weights' file is damaged or not of this network.
        EngineError: The engine cannot run these weights, not on that device, or not in that precision.
    """
    asked, precision, reason = check_engine(engine), check_precision(precision), "asked for"
    if asked == "auto":
        engine, device, reason = _choose_freely(weights, device, config)
    elif device == "auto":
        device = _place(engine)
    if weights.is_graph and engine != "onnxruntime" and (engine, device) != ("openvino", "cpu"):
        raise EngineError(
            f"{weights.name} is an ONNX graph, which runs on the CPU; choose the engine openvino, or onnxruntime with"
            " its devices",
            parameter="engine",
        )
    if engine == "openvino" and device != "cpu" and not device.startswith(OPENVINO_DEVICES):
        raise EngineError(
            f"device {device!r}: OpenVINO runs on the CPU, gpu and npu; choose the engine torch for cuda and mps",
            parameter="engine",
        )
    if engine == "native" and device != "cpu":
        raise EngineError(f"device {device!r}: the engine native runs on the CPU alone", parameter="device")
    if engine == "torch" and not has_torch():
        raise MissingExtraError("torch", "the engine torch")
    if engine == "onnxruntime" and not has_onnxruntime():
        raise MissingExtraError("onnxruntime", "the engine onnxruntime")
    if precision == "half" and not device.startswith("cuda") and (engine == "torch" or weights.is_graph):
        what = "an ONNX graph" if weights.is_graph else f"{engine} on {device}"
        raise EngineError(
            f"precision half: {what} computes in float32 alone; choose the device cuda, or the engine native or"
            " openvino",
            parameter="precision",
        )
    if asked == "native":
        load_library(native_cache())
        if why := _reason_against_settings(weights, config):
            raise EngineError(f"{why}; choose the engine openvino", parameter="engine")
    return engine, device, reason


def native_cache() -> Path:
    """The folder where the library of the engine `native` is kept, if it was compiled here."""
    return cache_folder() / "native"


def _reason_against_settings(weights: Weights, config: NetworkConfig | None) -> str | None:
    """Why the engine `native` does not run weights; None if it does."""
    config = config or blended_weights(weights)[0]
    if config == NetworkConfig(config.scale):
        return None
    return f"the engine native runs networks with the paper's settings alone, and {weights.name} has others"


def _place(engine: EngineName) -> str:
    """Where an engine that was asked for runs, unless that was asked for too."""
    if engine == "torch":
        return torch_accelerator() or "cpu"
    if engine in ("openvino", "native"):
        return "cpu"
    here = accelerators()
    if has_onnxruntime() and not here:
        raise EngineError("ONNX Runtime has no DirectML and no CoreML here; name the device cpu", parameter="device")
    return here[0] if here else "cpu"


def _choose_freely(weights: Weights, device: str, config: NetworkConfig | None) -> tuple[EngineName, str, str]:
    if device in ONNXRUNTIME_DEVICES:
        return "onnxruntime", device, f"device {device} was asked for"
    if weights.is_graph:
        return "openvino", "cpu" if device == "auto" else device, f"{weights.name} is an ONNX graph"
    if device.startswith(OPENVINO_DEVICES):
        return "openvino", device, f"device {device} was asked for"
    if device not in ("auto", "cpu"):
        return "torch", device, f"device {device} was asked for"
    if device == "auto" and (gpu := torch_accelerator()):
        return "torch", gpu, "PyTorch sees a GPU"
    if why := reason_against(native_cache()) or _reason_against_settings(weights, config):
        log.info("openvino on cpu: %s", why)
        return "openvino", "cpu", why
    return "native", "cpu", "the fastest on a CPU"


def open_engine(
    weights: Weights,
    engine: EngineName = "auto",
    device: str = "auto",
    precision: Precision = "float32",
    compile: bool = False,
    network: tuple[NetworkConfig, Tensors] | None = None,
) -> Engine:
    """Start the engine that `choose` decides on.

    Args:
        weights: What is to be run.
        engine: As for `choose`.
        device: The same.
        precision: `float32` or `half`, as for `bgai.Upscaler`.
        compile: Compile the network first; on CUDA alone.
        network: What `blended_weights` gives for these weights, if it was read already.

    Raises:
        UsageError: An unknown engine or precision.
        WeightsError: The weights' file is damaged or not of this network.
        EngineError: The engine cannot run these weights, not on that device, or not in that precision.
    """
    name, place, _ = choose(weights, engine, device, precision, network and network[0])
    if compile and not (name == "torch" and place.startswith("cuda")):
        raise EngineError(f"compilation is for the device cuda alone; {name} on {place} does without")
    if name == "onnxruntime":
        return _open_onnxruntime(weights, place, precision)
    cache = cache_folder() / "openvino"
    if weights.is_graph:
        from bgai.engines.onnx_engine import OnnxEngine

        return OnnxEngine(weights.file, cache)
    config, tensors = network or blended_weights(weights)
    if name == "torch":
        from bgai.engines.torch_engine import TorchEngine

        return TorchEngine(config, tensors, place, precision, compile)
    if name == "native":
        from bgai.engines.native_engine import NativeEngine

        return NativeEngine(config, tensors, load_library(native_cache()), precision)
    if place != "cpu":
        from bgai.engines.openvino_device import OpenVinoDeviceEngine

        return OpenVinoDeviceEngine(config, tensors, cache, place, precision)
    from bgai.engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(config, tensors, cache, precision)


def _open_onnxruntime(weights: Weights, device: str, precision: Precision) -> Engine:
    """Run a graph, or one that is exported from the weights once and kept in the cache."""
    if weights.is_graph:
        return OnnxRuntimeEngine(weights.file, device)
    content = b"".join(file.read_bytes() for file in (weights.file, weights.other) if file)
    name = hashlib.sha256(f"{__version__} {weights.key} {weights.clean} {weights.halo} ".encode() + content).hexdigest()
    folder = make_folder(cache_folder() / "onnx")
    if folder is None:
        raise EngineError(
            f"{cache_folder()}: no folder for graphs can be made; name a graph from bgai export as weights"
        )
    graph = folder / f"{name[:32]}_{precision}.onnx"
    if not graph.exists():
        try:
            from bgai.engines.onnx_export import export_onnx
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "export", f"{weights.name} on {device}, without a graph from bgai export"
            ) from error
        export_onnx(weights, graph, overwrite=True, precision=precision)
    return OnnxRuntimeEngine(graph, device)


def check_engine(engine: str) -> EngineName:
    """The name of an engine, as its type.

    Raises:
        UsageError: It is not one of `ENGINES`.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r}: expected one of {', '.join(ENGINES)}")
    return engine


def check_precision(precision: str) -> Precision:
    """The name of a precision, as its type.

    Raises:
        UsageError: It is not one of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r}: expected one of {', '.join(PRECISIONS)}")
    return precision
