"""PyTorch's tensors in and out, with any engine. Needs the extra `[torch]`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bgai.errors import UsageError
from bgai.types import PixelProgress
from bgai.upscaling.sizes import TargetSize
from bgai.upscaling.upscaler import Upscaler


def upscale(
    images: Tensor, upscaler: Upscaler, progress: PixelProgress | None = None, *, size: TargetSize | None = None
) -> Tensor:
    """Enlarge a batch of images, one after the other, in tiles where they are large; gradients are not kept.

    For a network that gradients go through, or one for the whole batch at once, see `bgai.load_network`.

    Args:
        images: N x C x H x W in [0, 1], of any floating point dtype and on any device; C is 1 (grey), 2 (grey, alpha),
            3 (RGB) or 4 (RGB, alpha).
        upscaler: What enlarges.
        progress: Called with the network's output pixels done and those in all, of the batch.
        size: Of the results, to which the network's are reduced; None for all of them.

    Returns:
        N x C x sH x sW, or as `size` says, in [0, 1], of the same dtype and on the same device.

    Raises:
        UsageError: The tensor is of another shape, dtype or range, or `size` is out of reach.

    Examples:
        >>> upscale(torch.rand(2, 3, 5, 4), Upscaler(scale=2)).shape
        torch.Size([2, 3, 10, 8])
    """
    if images.ndim != 4 or images.shape[1] not in (1, 2, 3, 4) or 0 in images.shape:
        raise UsageError(
            f"tensor of shape {tuple(images.shape)}: expected N x C x H x W, C from 1 to 4 and none of them 0"
        )
    if not images.is_floating_point():
        raise UsageError(f"tensor of {images.dtype}: expected floating point in [0, 1]")
    results = []
    for index, image in enumerate(images.detach()):
        pixels = image.permute(1, 2, 0).float().cpu().contiguous().numpy()

        def of_batch(done: int, total: int, before: int = index) -> None:
            if progress:
                progress(before * total + done, len(images) * total)

        enlarged = upscaler.upscale(pixels if len(image) > 1 else pixels[..., 0], of_batch, size=size)
        results.append(torch.from_numpy(np.atleast_3d(enlarged)).permute(2, 0, 1).to(images))
    return torch.stack(results)
