"""XMP packets (ISO 16684-1): fields of our own in them, and fields that an enlarged copy must not carry on."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

NAMESPACE = "urn:bgai:recipe:1"
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()
_RDF = b"http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_END = re.compile(rb"</(?:[\w.-]+:)?RDF\s*>")
_NOTHING_IN_IT = re.compile(rb"<((?:[\w.-]+:)?RDF)\b([^<>]*)/>")
_OURS = re.compile(rb'<rdf:Description\s[^<>]*xmlns:bgai="' + NAMESPACE.encode() + rb'"[^<>]*/>\s*')
# As we write them; or as elements, which is how other programs write them anew.
_FIELD = re.compile(rb'\bbgai:(\w+)(?:="([^"<>]*)"|>([^<>]*)</bgai:)')
# Of phones: a video or a gain map behind the picture, which are not copied. The orientation of TIFF: pictures are
# turned upright.
_STALE = rb"(?:GCamera:MotionPhoto\w*|GCamera:MicroVideo\w*|hdrgm:\w+|tiff:Orientation)"
_STALE_ATTRIBUTE = re.compile(rb"\s" + _STALE + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_STALE_ELEMENT = re.compile(rb"<(" + _STALE + rb")\b[^<>]*>[^<]*</\1\s*>\s*")
_GAIN_MAP = (
    '<rdf:Description rdf:about="" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"'
    ' xmlns:Container="http://ns.google.com/photos/1.0/container/"'
    ' xmlns:Item="http://ns.google.com/photos/1.0/container/item/" hdrgm:Version="1.0"><Container:Directory><rdf:Seq>'
    '<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li>'
    '<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg"'
    ' Item:Length="{length}"/></rdf:li></rdf:Seq></Container:Directory></rdf:Description>'
)
_APPENDED = re.compile(rb"MotionPhoto|GainMap")
_CONTAINER = re.compile(rb"<(Container:Directory)\b(?:(?!<\1\b).)*?</\1\s*>\s*", re.DOTALL)


def add_fields(xmp: bytes | None, fields: Mapping[str, str]) -> bytes:
    """Put fields into a packet, in place of earlier ones.

    Args:
        xmp: The packet; None makes one.
        fields: Names, of letters and digits, and values.

    Raises:
        ValueError: As `takes_fields` says.
    """
    values = " ".join(f'bgai:{name}="{html.escape(value)}"' for name, value in fields.items())
    description = f'<rdf:Description rdf:about="" xmlns:bgai="{NAMESPACE}" {values}/>'
    return _add(_OURS.sub(b"", _EMPTY if xmp is None else xmp), description)


def takes_fields(xmp: bytes) -> bool:
    """Whether a packet has the element of RDF that fields are put into; damaged ones have not, nor those in UTF-16."""
    return bool(_END.search(xmp) or _NOTHING_IN_IT.search(xmp))


def add_gain_map(xmp: bytes | None, length: int) -> bytes:
    """Say in a packet that a gain map of so many bytes lies behind the picture (Ultra HDR image format 1.1).

    Raises:
        ValueError: As `takes_fields` says.
    """
    return _add(_EMPTY if xmp is None else xmp, _GAIN_MAP.format(length=length))


def _add(packet: bytes, description: str) -> bytes:
    packet = _NOTHING_IN_IT.sub(rb"<\1\2></\1>", packet)
    ends = [found.start() for found in _END.finditer(packet)]
    if not ends:
        raise ValueError("no XMP packet, or a damaged one")
    # The prefix is declared here, because a packet may have another one for RDF.
    declared = description.replace("<rdf:Description", f'<rdf:Description xmlns:rdf="{_RDF.decode()}"', 1)
    return packet[: ends[-1]] + declared.encode() + packet[ends[-1] :]


def read_fields(xmp: bytes) -> dict[str, str]:
    """The fields that `add_fields` put into a packet."""
    if NAMESPACE.encode() not in xmp:
        return {}
    return {
        name.decode(): html.unescape((value or text).decode("utf-8", "replace"))
        for name, value, text in _FIELD.findall(xmp)
    }


def without_stale_fields(xmp: bytes) -> bytes:
    """Take out what is not true of an enlarged, upright copy without video or gain map."""
    xmp = _STALE_ELEMENT.sub(b"", _STALE_ATTRIBUTE.sub(b"", xmp))
    return _CONTAINER.sub(lambda found: b"" if _APPENDED.search(found[0]) else found[0], xmp)
