"""Clusters on this machine need a network and processes of their own: Ray looks for others."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess

import pytest

UNSHARE = [
    "unshare",
    "--net",
    "--pid",
    "--fork",
    "--mount-proc",
    "sh",
    "-c",
    'ip link set lo up && "$@"; exit $?',
    "sh",
]
"""Runs the command behind it with loopback alone, without a view of other processes; what it leaves running ends."""
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra [cluster]")


def skip_without_namespaces() -> None:
    """Skip the test where this process may not make namespaces."""
    found = all(map(shutil.which, ("unshare", "ip")))
    if not found or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to make namespaces (unshare --net --pid)")
