"""How large a picture may be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bgai.errors import ImageError
from bgai.types import Size

DEFAULT_MAX_PIXELS = 200_000_000
_LONGEST_SIDE = 10**8  # of libvips


def check_size(width: int, height: int, name: Path | str, max_pixels: int) -> None:
    """Refuse a picture by the size in its header; `name` stands for it in the error.

    Raises:
        ImageError: It has no pixels, or too many.
    """
    if min(width, height) < 1:
        raise ImageError(f"{name}: damaged: {width} x {height} pixels")
    if width * height > max_pixels or max(width, height) >= _LONGEST_SIDE:
        raise ImageError(
            f"{name}: {width} x {height} is more than the limit of {max_pixels / 1e6:g} megapixels;"
            " if you trust the file, allow more",
            parameter="max_megapixels",
        )


def check_total(sizes: Sequence[Size], name: Path | str, max_pixels: int) -> None:
    """Refuse a file that has too many pixels in all its pictures: a small one may have very many of them.

    Args:
        sizes: Height and width of each picture.
        name: Stands for the file in the error.
        max_pixels: Refuse more.

    Raises:
        ImageError: It has more.
    """
    total = sum(height * width for height, width in sizes)
    if total > max_pixels:
        raise ImageError(
            f"{name}: {len(sizes)} pictures of {total / 1e6:.4g} megapixels in all, more than the limit of"
            f" {max_pixels / 1e6:g}; if you trust the file, allow more",
            parameter="max_megapixels",
        )
