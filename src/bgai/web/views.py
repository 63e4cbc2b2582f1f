"""What the page shows of a job: a thumbnail, and parts of the result and of a bicubic enlargement, pixel for pixel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyvips

from bgai.errors import ImageError, UsageError
from bgai.pictures.reading import read_picture
from bgai.types import Size

THUMBNAIL = 192
"""Longest side in pixels."""
MOST_PIXELS = 36_000_000
"""Of a view: what browsers hold with ease, twice."""
_ANY_SIZE = 10**15  # it was checked when the upload came

View = Literal["result", "bicubic"]


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle in pixels of the enlarged picture."""

    left: int
    top: int
    width: int
    height: int

    def check(self, width: int, height: int) -> None:
        """Refuse a part that does not lie in a picture, or is too large.

        Raises:
            UsageError: It is so.
        """
        if min(self.left, self.top) < 0 or min(self.width, self.height) < 1:
            raise UsageError("part: expected left and top from 0, width and height from 1")
        if self.left + self.width > width or self.top + self.height > height:
            raise UsageError(f"part: reaches out of the picture of {width} x {height}")
        if self.width * self.height > MOST_PIXELS:
            raise UsageError(f"part: more than {MOST_PIXELS / 1e6:g} megapixels; ask for a smaller one")


def thumbnail(source: Path) -> bytes:
    """A small sRGB WebP of an accepted upload, upright.

    Raises:
        ImageError: It is damaged.
    """
    options = {"height": THUMBNAIL, "size": "down", "export_profile": "srgb"}
    try:
        try:
            image = pyvips.Image.thumbnail(str(source), THUMBNAIL, **options)
        except pyvips.Error:
            image = _decoded(source).thumbnail_image(THUMBNAIL, **options)
        encoded: bytes = image.webpsave_buffer(Q=80, keep="none")
    except pyvips.Error as error:
        raise ImageError("the picture is damaged") from error
    return encoded


def result_view(result: Path, part: Part) -> bytes:
    """A part of a result as PNG of 8 bits with its profile.

    Raises:
        ImageError: It cannot be read.
    """
    try:
        image = pyvips.Image.new_from_file(str(result), access="sequential")
        return _png(image.crop(part.left, part.top, part.width, part.height))
    except pyvips.Error as error:
        raise ImageError("the result cannot be read") from error


def bicubic_view(source: Path, size: Size, part: Part) -> bytes:
    """The same part of a bicubic enlargement of the upload to a size, as PNG of 8 bits with its profile.

    Raises:
        ImageError: The upload is damaged.
    """
    try:
        try:
            image = pyvips.Image.new_from_file(str(source)).autorot()
        except pyvips.Error:
            image = _decoded(source)
        if image.interpretation == "cmyk":
            image = image.icc_transform("srgb", embedded=True)
        # libvips computes no more of it than the part.
        return _png(_enlarge(image, size).crop(part.left, part.top, part.width, part.height))
    except pyvips.Error as error:
        raise ImageError("the picture is damaged") from error


def _decoded(source: Path) -> pyvips.Image:
    """Of BMP, HEIC and JPEG XL, which libvips does not read.

    Raises:
        ImageError: It is damaged.
    """
    return pyvips.Image.new_from_array(read_picture(source, _ANY_SIZE).pixels)


def _enlarge(image: pyvips.Image, size: Size) -> pyvips.Image:
    """Bicubic, with colours weighted by alpha where there is one."""
    options = {"vscale": size[0] / image.height, "kernel": "cubic"}
    if not image.hasalpha():
        return image.resize(size[1] / image.width, **options)
    kind = image.format
    most = 65535 if kind == "ushort" else 255
    enlarged = image.premultiply(max_alpha=most).resize(size[1] / image.width, **options)
    return enlarged.unpremultiply(max_alpha=most).cast(kind)


def _png(image: pyvips.Image) -> bytes:
    if image.format == "ushort":
        kind = "b-w" if image.bands < 3 else "srgb"
        image = (image / 257).rint().cast("uchar").copy(interpretation=kind)
    encoded: bytes = image.pngsave_buffer(compression=1, filter="sub", keep="icc")
    return encoded
