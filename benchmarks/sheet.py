"""Pictures beside and below each other, with words above, as one lossy WebP for the documents. Needs Pillow."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bgai.atomic_files import whole_or_nothing

Pixels = NDArray[np.uint8]
Row = Mapping[str, Pixels]
"""Pictures of one height by what is written above them."""

_GAP, _CAPTION, _LETTERS, _QUALITY = 8, 30, 20, 90


def write_sheet(target: Path, rows: Sequence[Row]) -> None:
    """Write rows of H x W x 3 pictures; a caption that the row above has at the same place is not repeated."""
    lines = [
        _line(row, list(row) if not index or list(row) != list(rows[index - 1]) else [])
        for index, row in enumerate(rows)
    ]
    sheet = Image.new("RGB", (max(line.width for line in lines), sum(line.height for line in lines) - _GAP), "white")
    top = 0
    for line in lines:
        sheet.paste(line, (0, top))
        top += line.height
    encoded = io.BytesIO()
    sheet.save(encoded, "WebP", quality=_QUALITY, method=6)
    with whole_or_nothing(target) as partial:
        partial.write_bytes(encoded.getvalue())


def _line(row: Row, captions: Sequence[str]) -> Image.Image:
    pictures = list(row.values())
    caption = _CAPTION if captions else 0
    width = sum(picture.shape[1] + _GAP for picture in pictures) - _GAP
    line = Image.new("RGB", (width, caption + len(pictures[0]) + _GAP), "white")
    left = 0
    for index, picture in enumerate(pictures):
        if captions:
            ImageDraw.Draw(line).text((left + 2, 2), captions[index], "black", ImageFont.load_default(_LETTERS))
        line.paste(Image.fromarray(picture), (left, caption))
        left += picture.shape[1] + _GAP
    return line


def crop(pixels: Pixels, left: int, top: int, width: int, height: int, times: int = 1) -> Pixels:
    """A part of a picture, its pixels repeated."""
    part = pixels[top : top + height, left : left + width]
    return np.ascontiguousarray(part.repeat(times, axis=0).repeat(times, axis=1))
