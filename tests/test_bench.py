"""Costs of enlarging."""

from __future__ import annotations

import pytest

from bgai.bench import Case, measure
from bgai.errors import EngineError


def test_a_case_in_its_own_process() -> None:
    cost = measure(Case("bgai", 4, 20, 30, rounds=2))
    assert (cost.engine, cost.device, len(cost.seconds)) == ("openvino", "cpu", 2)
    assert 0 < min(cost.seconds) < 10
    assert 50 * 2**20 < cost.peak_bytes < 2**31


def test_what_fails_there_is_told() -> None:
    with pytest.raises(EngineError, match=r"openvino on cuda at 30 x 20: .*OpenVINO runs on the CPU"):
        measure(Case("bgai", 4, 20, 30, "openvino", "cuda"))
