"""Self-ensemble: the mean over the eight orientations of an image, each turned back after it was enlarged."""

from __future__ import annotations

import numpy as np

from bgai.engines.base import Engine
from bgai.types import RgbImage


def enlarge_in_all_orientations(engine: Engine, lr: RgbImage) -> RgbImage:
    """Enlarge a whole image eight times and round the mean.

    Args:
        engine: What enlarges it.
        lr: H x W x 3.

    Returns:
        sH x sW x 3.

    Source: B. Lim et al., Enhanced Deep Residual Networks for Single Image Super-Resolution (2017).
    """
    image = lr.astype(np.float32).transpose(2, 0, 1) / np.float32(255)
    total = np.zeros((3, image.shape[1] * engine.scale, image.shape[2] * engine.scale), np.float32)
    for turns in range(4):
        for mirrored in (False, True):
            turned = np.rot90(image[..., ::-1] if mirrored else image, turns, (1, 2))
            sr = np.rot90(engine(np.ascontiguousarray(turned)[None])[0], -turns, (1, 2))
            total += sr[..., ::-1] if mirrored else sr
    mean: RgbImage = np.rint((total / 8).clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(mean)
