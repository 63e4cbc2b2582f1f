"""BGAI: sharp, faithful enlargements by a small network.

>>> import bgai
>>> bgai.Upscaler(scale=4)  # doctest: +ELLIPSIS
<bgai.upscaling.upscaler.Upscaler object at ...>
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bgai._version import __version__

if TYPE_CHECKING:
    from bgai.errors import BgaiError, EngineError, ImageError, OutputError, UsageError, WeightsError
    from bgai.upscaling.files import EnlargedFile, upscale_file
    from bgai.upscaling.upscaler import Upscaler
    from bgai.weights.checkpoint import load_network

# Where each public name lives: `import bgai` itself loads nothing heavy.
_HOMES = {
    "BgaiError": "bgai.errors",
    "EngineError": "bgai.errors",
    "EnlargedFile": "bgai.upscaling.files",
    "ImageError": "bgai.errors",
    "OutputError": "bgai.errors",
    "Upscaler": "bgai.upscaling.upscaler",
    "UsageError": "bgai.errors",
    "WeightsError": "bgai.errors",
    "load_network": "bgai.weights.checkpoint",
    "upscale_file": "bgai.upscaling.files",
}

__all__ = [
    "BgaiError",
    "EngineError",
    "EnlargedFile",
    "ImageError",
    "OutputError",
    "Upscaler",
    "UsageError",
    "WeightsError",
    "__version__",
    "load_network",
    "upscale_file",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bgai' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        from bgai.errors import EngineError

        raise EngineError(f"bgai.{name} needs PyTorch: install it with  pip install 'bgai[torch]'") from None
