"""IPTC records (IIM 4.2): JPEG has them in one of Photoshop's image resources, TIFF in a tag of their own."""

from __future__ import annotations

import struct

_PREFIX, _RESOURCE, _IPTC = b"Photoshop 3.0\0", b"8BIM", 0x0404


def as_resource(iptc: bytes) -> bytes:
    """Records in the form of JPEG, whatever form they have."""
    if iptc.startswith(_PREFIX):
        return iptc
    return _PREFIX + _RESOURCE + struct.pack(">HHI", _IPTC, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)


def as_records(iptc: bytes) -> bytes:
    """Records in the form of TIFF; empty if there are none."""
    return _find(iptc[len(_PREFIX) :]) if iptc.startswith(_PREFIX) else iptc


def _find(resources: bytes) -> bytes:
    """The records in image resources (Adobe, "Photoshop File Formats Specification")."""
    at = 0
    while resources[at : at + 4] == _RESOURCE and at + 12 <= len(resources):
        (kind,) = struct.unpack_from(">H", resources, at + 4)
        name = 1 + resources[at + 6]
        start = at + 6 + name + name % 2 + 4
        size = int.from_bytes(resources[start - 4 : start], "big")
        if kind == _IPTC:
            return resources[start : start + size]
        at = start + size + size % 2
    return b""
