"""Free memory where PyTorch computes."""

from __future__ import annotations

import pytest
import torch

from bgai.evaluation import device_memory
from bgai.evaluation.device_memory import free_bytes


def test_a_cpu_has_what_a_container_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_memory, "free_memory", lambda: 12_345)
    assert free_bytes(torch.device("cpu")) == 12_345
