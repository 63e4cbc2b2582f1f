from __future__ import annotations

import pytest

from bgai.cluster.enlarging import Opening
from bgai.errors import WeightsError


def test_scale_by_which_outputs_are_named() -> None:
    assert Opening().find_scale() == 4
    assert Opening(2, "bgai").find_scale() == 2
    assert Opening(clean=0.5, scale=3).find_scale() == 3
    assert Opening(sized=True).find_scale() is None
    with pytest.raises(WeightsError, match=r"none.safetensors: no such file"):
        Opening(weights="none.safetensors").find_scale()
