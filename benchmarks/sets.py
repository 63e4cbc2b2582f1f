"""The standard benchmarks as `bgai test` reads them, clean and compressed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bgai.errors import ImageError
from bgai.options.evaluation import TestOptions

SETS = ("Set5", "Set14", "B100")


def benchmark_options(
    name: str,
    testsets: Path,
    scale: int,
    weights: str,
    sets: Sequence[str] = SETS,
    qualities: Sequence[int | None] = (None,),
) -> TestOptions:
    """What `bgai test` would read: each set once for each quality of JPEG, and for None as it is."""
    metrics = {
        name: {"type": f"calculate_{name}", "crop_border": scale, "test_y_channel": True} for name in ("psnr", "ssim")
    }
    datasets = {
        f"test_{compressed(tested, quality)}": {
            "name": compressed(tested, quality),
            "dataroot_gt": originals(testsets / tested, scale),
            "dataroot_lq": testsets / tested / f"X{scale}",
            **degradation(quality),
        }
        for tested in sets
        for quality in qualities
    }
    return TestOptions.model_validate(
        {
            "name": name,
            "scale": scale,
            "datasets": datasets,
            "path": {"pretrain_network_g": weights},
            "val": {"metrics": metrics},
        }
    )


def compressed(name: str, quality: int | None) -> str:
    """What a set is called at a quality of JPEG."""
    return name if quality is None else f"{name}_jpeg{quality}"


def degradation(quality: int | None) -> dict[str, Any]:
    return {} if quality is None else {"degradation": {"jpeg": {"quality": quality, "subsampling": "4:2:0"}}}


def originals(folder: Path, scale: int) -> Path:
    for candidate in (folder / f"HR_mod{scale}", folder / "HR"):
        if candidate.is_dir():
            return candidate
    raise ImageError(f"{folder}: expected HR_mod{scale} or HR there")
