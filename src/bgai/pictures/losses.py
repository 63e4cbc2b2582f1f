"""What a format cannot hold of a picture, in words."""

from __future__ import annotations

import struct

import numpy as np

from bgai.pictures.encoders import AVIF_DEPTH
from bgai.pictures.encoding import ANIMATED_SUFFIXES, EIGHT_BIT_ONLY, JPEG_SUFFIXES, is_grey
from bgai.pictures.png_chunks import COLOURS, TEXTS
from bgai.pictures.reading import TIFF_SUFFIXES, Picture

# Chunks that say no more than that colours are those of sRGB.
_SRGB = {(b"gAMA", (45455).to_bytes(4, "big")), (b"cICP", bytes((1, 13, 0, 1))), (b"cICP", bytes((2, 2, 0, 1)))}
_SRGB |= {(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))}


def loses_profile(like: Picture, suffix: str) -> bool:
    """Whether colours have to be converted to sRGB."""
    # WebP holds colours alone, for which a profile of grey says nothing; GIF holds no profile.
    unfit = suffix == ".gif" or (suffix == ".webp" and is_grey(like.pixels))
    return unfit and "icc-profile-data" in like.metadata


def lost_in(like: Picture, suffix: str) -> tuple[str, ...]:
    """Notes on a picture in the format of a suffix."""
    notes: tuple[str, ...] = ()
    if like.pixels.dtype == np.uint16 and suffix in EIGHT_BIT_ONLY:
        notes += (f"16 bits became 8, which is all that {suffix} holds",)
    if like.pixels.dtype == np.uint16 and suffix == ".avif":
        notes += (f"16 bits became {AVIF_DEPTH}, which is all that AVIF holds",)
    if loses_profile(like, suffix):
        kind = "colours were" if suffix == ".gif" else "grey was"
        which = "profile" if suffix == ".gif" else "grey profile"
        notes += (f"{kind} converted to sRGB: {suffix} holds no {which}",)
    if like.animation and suffix not in ANIMATED_SUFFIXES:
        notes += (f"the first of {like.animation.count} pictures of an animation, which {suffix} cannot hold",)
    if like.pages > 1 and suffix not in TIFF_SUFFIXES:
        notes += (f"the first of {like.pages} pages, of which {suffix} holds one",)
    if suffix == ".gif":
        notes += _lost_in_gif(like)
    if like.gain_map and suffix not in JPEG_SUFFIXES:
        notes += (f"the gain map was left out, which {suffix} has no place for: the output has no HDR",)
    if like.comments and suffix not in (*JPEG_SUFFIXES, ".gif"):
        notes += (f"the comment was left out, which {suffix} has no place for",)
    if "iptc-data" in like.metadata and suffix not in (*JPEG_SUFFIXES, *TIFF_SUFFIXES):
        notes += (f"IPTC was left out, which {suffix} has no place for",)
    if suffix != ".png":
        notes += _lost_chunks(like, suffix)
    return notes


def _lost_in_gif(like: Picture) -> tuple[str, ...]:
    notes = ("EXIF was left out, which .gif has no place for",) if "exif-data" in like.metadata else ()
    return notes if like.animation else ("colours became 256, which is all that .gif holds", *notes)


def _lost_chunks(like: Picture, suffix: str) -> tuple[str, ...]:
    """Notes on what was said by chunks that PNG alone has."""
    notes = []
    if texts := sum(kind in TEXTS for kind, _ in like.chunks):
        notes.append(f"{texts} text{'s' * (texts > 1)} of PNG left out, which {suffix} has no place for")
    colours = {chunk for chunk in like.chunks if chunk[0] in COLOURS and chunk[0] != b"sRGB"}
    if colours - _SRGB and "icc-profile-data" not in like.metadata:
        kinds = ", ".join(sorted(kind.decode() for kind, _ in colours - _SRGB))
        notes.append(f"colours may look different: {suffix} has no place for what {kinds} say of them; PNG has")
    return tuple(notes)
