"""PyTorch's tensors in and out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bgai.tensors
from bgai.errors import UsageError
from bgai.upscaling.sizes import TargetSize
from bgai.upscaling.upscaler import Upscaler


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return Upscaler(scale=2)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_batch_gives_what_its_arrays_do(upscaler: Upscaler, channels: int) -> None:
    images = torch.from_numpy(np.random.default_rng(0).random((2, channels, 9, 14), np.float32))
    enlarged = bgai.tensors.upscale(images, upscaler)
    assert enlarged.shape == (2, channels, 18, 28)
    for image, result in zip(images, enlarged, strict=True):
        expected = upscaler.upscale(np.ascontiguousarray(image.permute(1, 2, 0).squeeze(-1).numpy()))
        np.testing.assert_array_equal(result.permute(1, 2, 0).squeeze(-1).numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_stays_and_gradients_do_not(upscaler: Upscaler, dtype: torch.dtype) -> None:
    enlarged = bgai.tensors.upscale(torch.rand(1, 3, 5, 4, dtype=dtype, requires_grad=True), upscaler)
    assert enlarged.dtype == dtype
    assert not enlarged.requires_grad


def test_progress_counts_the_batch(upscaler: Upscaler) -> None:
    calls: list[tuple[int, int]] = []
    bgai.tensors.upscale(torch.rand(3, 3, 5, 4), upscaler, lambda *done: calls.append(done))
    assert calls == [(80, 240), (160, 240), (240, 240)]


def test_a_size_of_its_own(upscaler: Upscaler) -> None:
    enlarged = bgai.tensors.upscale(torch.rand(2, 3, 10, 20), upscaler, size=TargetSize(width=30))
    assert enlarged.shape == (2, 3, 15, 30)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(3, 5, 4), "expected N x C x H x W"),
        (torch.rand(1, 5, 4, 4), "expected N x C x H x W"),
        (torch.rand(0, 3, 4, 4), "none of them 0"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "expected floating point"),
        (torch.full((1, 3, 4, 4), 255.0), r"expected values in \[0, 1\]"),
        (torch.full((1, 3, 4, 4), torch.nan), r"expected values in \[0, 1\]"),
    ],
)
def test_what_is_no_batch_is_refused(upscaler: Upscaler, images: torch.Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bgai.tensors.upscale(images, upscaler)
