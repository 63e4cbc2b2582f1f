"""Leaves out the examples of modules whose packages are missing."""

from __future__ import annotations

import importlib.util

_PACKAGES = {"bgai/integrations/hub.py": "huggingface_hub"}

collect_ignore = [module for module, package in _PACKAGES.items() if importlib.util.find_spec(package) is None]
