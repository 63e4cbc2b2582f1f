"""Ctrl-C and other signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import picture


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.skipif(os.name == "nt", reason="ends a process at once there")),
    ],
)
def test_an_interrupt_leaves_no_half_output(number: signal.Signals, tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 600, 600)
    command = [sys.executable, "-m", "bgai", "upscale", "a.png", "--tile", "112"]
    # Ignored, as it is below a shell that started the tests in the background, it would be ignored by the child too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    for _ in range(300):
        if list(tmp_path.glob(".a_x4.png.*.partial.raw")):
            break
        time.sleep(0.1)
    process.send_signal(number)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; what was finished is kept" in messages
    assert os.listdir(tmp_path) == ["a.png"]  # noqa: PTH208
