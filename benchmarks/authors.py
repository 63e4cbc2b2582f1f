"""The authors' network, from a clone of their repository, to compare with."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn


def authors_class(clone: Path) -> Callable[..., nn.Module]:
    """Load the authors' network file alone; what it imports beside PyTorch plays no part in the network."""
    stand_ins: dict[str, dict[str, Any]] = {
        "audioop": {"bias": None},
        "basicsr": {},
        "basicsr.utils": {},
        "basicsr.utils.registry": {"ARCH_REGISTRY": types.SimpleNamespace(register=lambda: lambda network: network)},
        "einops": {"rearrange": None},
        "matplotlib": {"pyplot": None},
    }
    for name, members in stand_ins.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        sys.modules[name] = module
    spec = importlib.util.spec_from_file_location("authors", clone / "basicsr/archs/BGAI_arch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network: Callable[..., nn.Module] = module.BGAI
    return network


def authors_network(clone: Path, weights: Path, scale: int) -> nn.Module:
    """The authors' network with the averaged weights of a `.pth` file, in evaluation mode."""
    network = authors_class(clone)(upscale_factor=scale)
    network.load_state_dict(torch.load(weights, weights_only=True)["params_ema"])
    return network.eval()
