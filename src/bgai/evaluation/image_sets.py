"""Sets of images that option files name."""

from __future__ import annotations

from bgai.datasets.pairs import PairedImages
from bgai.options.sections import PairedDataset


def open_pairs(
    dataset: PairedDataset, scale: int, *, only: set[str] | None = None, degraded_by: int | None = None
) -> PairedImages:
    """Open a set of an option file.

    Args:
        dataset: Its section.
        scale: Of the high resolution over the low one.
        only: Names of the images to take; None for all.
        degraded_by: Seed by which whole low-resolution images are degraded as the section says; None leaves them as
            they are.

    Raises:
        ImageError: As `PairedImages`.
    """
    degrades = degraded_by is not None and dataset.degradation is not None
    return PairedImages(
        dataset.gt_folders,
        dataset.lq_folders or None,
        scale,
        lmdb=dataset.io_backend.type == "lmdb",
        lr_name=dataset.filename_tmpl,
        only=only,
        degradation=dataset.degradation.model() if degrades and dataset.degradation else None,
        seed=degraded_by or 0,
    )
