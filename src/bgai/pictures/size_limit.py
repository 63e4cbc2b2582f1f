"""How large a picture may be."""

from __future__ import annotations

from pathlib import Path

from bgai.errors import ImageError

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
