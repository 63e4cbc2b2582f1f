"""Gain maps of Ultra HDR photographs: a second JPEG behind the picture says how much brighter each part is in HDR.

Sources: Ultra HDR image format, version 1.1; ISO 21496-1; CIPA DC-007 (multi-picture format, MPF). What the map's own
headers say of it holds at any size, so they are kept byte by byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import pyvips

from bgai.pictures.jpeg_segments import insert, insert_place, segment, segments

_MARKERS = (b"hdrgm:Version", b"urn:iso:std:iso:ts:21496:-1")
_ISO = b"urn:iso:std:iso:ts:21496:-1\0"
# Segments of the map with its XMP, its numbers by ISO 21496-1, and its profile.
_DESCRIPTIONS = (b"\xff\xe1http://ns.adobe.com/xap/1.0/", b"\xff\xe2" + _ISO[:-1], b"\xff\xe2ICC_PROFILE")
_PRIMARY = 0x030000  # "baseline MP primary image" (CIPA DC-007, 5.2.3.3.1)


@dataclass(frozen=True, slots=True)
class GainMap:
    """A gain map as its file has it, and how it is to be turned."""

    jpeg: bytes
    orientation: int = 1
    """As that of EXIF."""

    def enlarged(self, scale: float, quality: int) -> bytes:
        """The map as a JPEG that is `scale` times as wide and high, upright, with what its headers say of it."""
        # The values are exponents: they are interpolated as they are, as every decoder does.
        image = pyvips.Image.jpegload_buffer(self.jpeg, fail_on="warning").copy()
        image.set_type(pyvips.GValue.gint_type, "orientation", self.orientation)
        image = image.autorot().resize(scale, kernel="cubic")
        encoded: bytes = image.jpegsave_buffer(Q=quality, subsample_mode="off", keep="none")
        kept = (part for _, part in segments(self.jpeg) if part[:2] + part[4:34].split(b"\0")[0] in _DESCRIPTIONS)
        return encoded[:2] + b"".join(kept) + encoded[2:]


def find_gain_map(data: bytes, orientation: int) -> GainMap | None:
    """The gain map of a JPEG file; None if it has none that can be read and is no larger than the picture."""
    try:
        image = pyvips.Image.uhdrload_buffer(data)
        jpeg = bytes(image.get("gainmap-data")) if image.get_typeof("gainmap-data") else b""
        gain_map = pyvips.Image.jpegload_buffer(jpeg, fail_on="warning")
        small = gain_map.width <= image.width and gain_map.height <= image.height
        if small:
            gain_map.avg()  # decodes all of it
    except pyvips.Error:
        return None
    return GainMap(jpeg, orientation) if small else None


def mentions_gain_map(head: bytes) -> bool:
    """Whether the headers of a JPEG file announce one."""
    return any(name in head for name in _MARKERS)


def append_gain_map(file: BinaryIO, jpeg: bytes) -> None:
    """Put a gain map behind a finished JPEG file, and the index of both pictures into its headers.

    The file's XMP has to name the map too (`bgai.pictures.xmp.add_gain_map`).

    Args:
        file: Open for reading and writing.
        jpeg: As `GainMap.enlarged` makes it.
    """
    size, at = file.seek(0, 2), insert_place(file)
    iso = segment(0xE2, _ISO + bytes(4)) if _ISO in jpeg[: 2**18] else b""
    primary = size + len(iso) + len(_index(0, 0, 0))
    # Offsets count from the byte order, behind marker, length and name of the index.
    insert(file, iso + _index(primary, len(jpeg), primary - (at + len(iso) + 8)))
    file.seek(0, 2)
    file.write(jpeg)


def _index(primary: int, secondary: int, offset: int) -> bytes:
    """The segment that lists two pictures by size and place (CIPA DC-007, 5.2)."""
    entries = struct.pack(">IIIHH", _PRIMARY, primary, 0, 0, 0) + struct.pack(">IIIHH", 0, secondary, offset, 0, 0)
    behind = 8 + 2 + 3 * 12 + 4
    fields = struct.pack(">HHI4s", 0xB000, 7, 4, b"0100") + struct.pack(">HHII", 0xB001, 4, 1, 2)
    fields += struct.pack(">HHII", 0xB002, 7, len(entries), behind)
    return segment(0xE2, b"MPF\0MM\0*" + struct.pack(">IH", 8, 3) + fields + bytes(4) + entries)
