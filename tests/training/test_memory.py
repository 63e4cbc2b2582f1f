"""Memory of a batch, before it is computed."""

from __future__ import annotations

import pytest
import torch

from bgai.errors import BgaiError
from bgai.training.memory import FIXED_BYTES, parts_that_fit, saved_bytes


def test_tensors_for_the_backward_pass_are_counted_once() -> None:
    x = torch.rand(1000, requires_grad=True)
    assert saved_bytes(lambda: (x * x).sum()) == 4000
    assert saved_bytes(lambda: (x.sin().exp() * x).sum()) == 2 * 4000  # x, and the exponential
    assert saved_bytes(lambda: x.sum()) == 0


def test_weights_are_not_counted() -> None:
    x, weight = torch.rand(1000, requires_grad=True), torch.rand(1000, requires_grad=True)
    assert saved_bytes(lambda: (x * weight).sum(), [weight]) == 4000


@pytest.mark.parametrize(("batch", "parts"), [(1, 1), (8, 1), (9, 2), (10, 2), (11, 3), (64, 13)])
def test_a_batch_is_cut_into_parts_that_fit(batch: int, parts: int) -> None:
    free = int((FIXED_BYTES + 8.1 * 1.3 * 100_000) / 0.8)  # room for eight patches of 100,000 bytes, or parts of five
    assert parts_that_fit(batch, 100_000, free) == parts


def test_a_patch_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BgaiError, match=r"a patch takes about 1\.7 GiB, of which 1\.0 are free; lower"):
        parts_that_fit(8, 2**30, 2**30)
