"""BGAI: sharp, faithful enlargements by a small network.

>>> import bgai
>>> bgai.Upscaler(scale=4)  # doctest: +ELLIPSIS
<bgai.upscaling.upscaler.Upscaler object at ...>
"""

from __future__ import annotations

import importlib

from bgai._version import __version__

TYPE_CHECKING = False  # for type checkers, which take it as true: `typing` takes longer to load than all of this
if TYPE_CHECKING:
    from typing import Any

    from bgai.engines.base import Engine
    from bgai.errors import (
        BgaiError,
        EngineError,
        ImageError,
        MissingExtraError,
        OutputError,
        UsageError,
        WeightsError,
    )
    from bgai.upscaling.files import EnlargedFile, upscale_file
    from bgai.upscaling.sizes import TargetSize
    from bgai.upscaling.upscaler import Upscaler
    from bgai.weights.checkpoint import load_network, save_network
    from bgai.weights.sources import Weights, find_weights

# Where each public name lives: `import bgai` itself loads nothing heavy.
_HOMES = {
    "BgaiError": "bgai.errors",
    "Engine": "bgai.engines.base",
    "EngineError": "bgai.errors",
    "EnlargedFile": "bgai.upscaling.files",
    "ImageError": "bgai.errors",
    "MissingExtraError": "bgai.errors",
    "OutputError": "bgai.errors",
    "TargetSize": "bgai.upscaling.sizes",
    "Upscaler": "bgai.upscaling.upscaler",
    "UsageError": "bgai.errors",
    "Weights": "bgai.weights.sources",
    "WeightsError": "bgai.errors",
    "find_weights": "bgai.weights.sources",
    "load_network": "bgai.weights.checkpoint",
    "save_network": "bgai.weights.checkpoint",
    "upscale_file": "bgai.upscaling.files",
}

__all__ = [
    "BgaiError",
    "Engine",
    "EngineError",
    "EnlargedFile",
    "ImageError",
    "MissingExtraError",
    "OutputError",
    "TargetSize",
    "Upscaler",
    "UsageError",
    "Weights",
    "WeightsError",
    "__version__",
    "find_weights",
    "load_network",
    "save_network",
    "upscale_file",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bgai' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ImportError as error:  # of nothing at all, or of a folder that happens to be named so
        if (error.name or "").partition(".")[0] != "torch":
            raise
        from bgai.errors import MissingExtraError

        raise MissingExtraError("torch", f"bgai.{name}") from error
