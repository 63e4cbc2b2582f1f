"""Clusters on this machine need a network of their own."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess

import pytest

UNSHARE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
"""Runs the command behind it in a network namespace with loopback alone."""
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra [cluster]")


def skip_without_namespaces() -> None:
    """Skip the test where this process may not make network namespaces."""
    found = all(map(shutil.which, ("unshare", "ip")))
    if not found or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to make network namespaces (unshare --net)")
