"""Memory of a batch, before it is computed."""

from __future__ import annotations

import pytest
import torch

from bgai.errors import BgaiError
from bgai.training.memory import parts_that_fit, saved_bytes


def test_tensors_for_the_backward_pass_are_counted_once() -> None:
    x = torch.rand(1000, requires_grad=True)
    assert saved_bytes(lambda: (x * x).sum()) == 4000
    assert saved_bytes(lambda: (x.sin().exp() * x).sum()) == 2 * 4000  # x, and the exponential
    assert saved_bytes(lambda: x.sum()) == 0


@pytest.mark.parametrize(("batch", "parts"), [(1, 1), (8, 1), (9, 2), (64, 8)])
def test_a_batch_is_cut_into_parts_that_fit(batch: int, parts: int) -> None:
    free = int(8.5 * 1.5 * 100 / 0.8)  # room for eight patches of 100 bytes
    assert parts_that_fit(batch, 100, free) == parts


def test_a_patch_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BgaiError, match=r"a patch takes about 1\.5 GiB, of which 1\.0 are free; lower"):
        parts_that_fit(8, 2**30, 2**30)
