"""How pictures become files: the formats, what each can hold, and the settings of their encoders."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from bgai.errors import OutputError, UsageError
from bgai.pictures.reading import Picture
from bgai.types import Pixels

OUTPUT_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif", ".gif")
ANIMATED_SUFFIXES = (".png", ".webp", ".gif")
# Longest side that each format can hold.
_LONGEST_SIDE = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383, ".avif": 16384, ".gif": 65535}
EIGHT_BIT_ONLY = (".jpg", ".jpeg", ".webp", ".gif")
_NO_ALPHA = (".jpg", ".jpeg")
_WITH_QUALITY = (".jpg", ".jpeg", ".webp", ".avif")
JPEG_SUFFIXES = (".jpg", ".jpeg")
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Encoding:
    """How pixels become a file.

    Raises:
        UsageError: The quality is outside its range, or the colour is none.
    """

    quality: int = 95
    """1 to 100, for JPEG, WebP and AVIF."""
    lossless: bool = False
    """Of WebP and AVIF; PNG and TIFF always are."""
    background: str | None = None
    """What transparent pictures are laid on, for any format: `white`, `black` or `#rrggbb`."""
    metadata: bool = True
    """Whether the picture had its EXIF, XMP, IPTC and texts (`Picture.with_colours_alone` takes them out)."""
    keep_clear_colours: bool = False
    """Whether WebP keeps colours under fully transparent pixels; other formats always do."""

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise UsageError(f"quality {self.quality}: expected 1 to 100", parameter="quality")
        if self.background is not None:
            _rgb(self.background)

    @property
    def background_rgb(self) -> tuple[int, int, int] | None:
        """0 to 255 each."""
        return None if self.background is None else _rgb(self.background)

    def describe(self, target: Path) -> str:
        """What of it matters to the format at `target`, for the recipe of an output."""
        parts = [("lossless" if self.lossless else str(self.quality)) if _has_quality(target) else ""]
        parts += ["on #{:02x}{:02x}{:02x}".format(*self.background_rgb)] if self.background_rgb else []
        parts += ["" if self.metadata else "without metadata", "clear colours" if self.keep_clear_colours else ""]
        return " ".join(filter(None, parts))


def _rgb(colour: str) -> tuple[int, int, int]:
    known = {"white": "#ffffff", "black": "#000000"}.get(colour.strip().lower(), colour.strip().lower())
    if not re.fullmatch(r"#[0-9a-f]{6}", known):
        raise UsageError(
            f"background {colour!r}: expected white, black or #rrggbb, such as #20a0ff", parameter="background"
        )
    return int(known[1:3], 16), int(known[3:5], 16), int(known[5:], 16)


def check_output(path: Path, height: int, width: int, encoding: Encoding | None = None) -> None:
    """Refuse, before any work is done, a picture of this size that the format at `path` cannot hold."""
    suffix = path.suffix.lower()
    if suffix not in OUTPUT_SUFFIXES:
        raise OutputError(f"{path}: unknown output format {suffix or '(none)'}; expected {', '.join(OUTPUT_SUFFIXES)}")
    if max(height, width) > _LONGEST_SIDE.get(suffix, max(height, width)):
        limit = _LONGEST_SIDE[suffix]
        raise OutputError(
            f"{path}: {width} x {height} is more than the {limit} a side that {suffix} holds; choose png",
            parameter="format",
        )
    if encoding and encoding.lossless and suffix in (*JPEG_SUFFIXES, ".gif"):
        name = "GIF" if suffix == ".gif" else "JPEG"
        raise OutputError(f"{path}: {name} always loses something; choose png, webp, avif or tiff", parameter="format")


def fit_alpha(picture: Picture, path: Path, background: str | None) -> Picture:
    """The picture without an alpha channel that is opaque everywhere, if the format at `path` has none.

    Raises:
        OutputError: It shows something, and there is no background for it.
    """
    if path.suffix.lower() not in _NO_ALPHA or not has_alpha(picture.pixels):
        return picture
    opaque = {"uint8": 255, "uint16": 65535}.get(picture.pixels.dtype.name, 1)
    for top in range(0, len(picture.pixels), _ROWS_AT_ONCE):
        if picture.pixels[top : top + _ROWS_AT_ONCE, :, -1].min() < opaque:
            if background is None:
                raise OutputError(
                    f"{path}: JPEG cannot hold transparency; choose a colour to lay the picture on, or another format",
                    parameter="background",
                )
            return picture
        picture.forget()
    pixels = picture.pixels[..., 0] if picture.pixels.shape[2] == 2 else picture.pixels[..., :3]
    return replace(picture, pixels=pixels)


def _has_quality(path: Path) -> bool:
    """Whether the format at `path` loses something, as much as a quality says."""
    return path.suffix.lower() in _WITH_QUALITY


def is_grey(pixels: Pixels) -> bool:
    return pixels.ndim == 2 or pixels.shape[2] < 3


def has_alpha(pixels: Pixels) -> bool:
    return pixels.ndim == 3 and pixels.shape[2] in (2, 4)
