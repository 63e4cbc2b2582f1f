"""Other people's packages, or what stands in for a part of one."""

from __future__ import annotations

import importlib
import sys
import types
import warnings


def stand_in_for_torchvision() -> None:
    """Stand in for the three names that spandrel imports from torchvision, where that cannot be imported.

    There is no torchvision for the PyTorch without CUDA that tests run on. Two of spandrel's own networks use these
    names, and they are not tested here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("torchvision.transforms.functional")
        return
    except (ImportError, RuntimeError):  # the latter: built for another PyTorch
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
    modules = [
        types.ModuleType(name)
        for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    ]
    for name in ("InterpolationMode", "rotate", "normalize"):
        setattr(modules[-1], name, None)
    sys.modules.update({module.__name__: module for module in modules})


stand_in_for_torchvision()  # before test files import spandrel
