"""XMP packets: fields of our own, and those that an enlarged copy must not carry on."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree

import pytest

from bgai.pictures.xmp import add_fields, read_fields, takes_fields, without_stale_fields

FIELDS = {"source": "12-ab", "note": 'of <"Tom" & Jerry>'}
THEIRS = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/png"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("packet", [None, THEIRS, add_fields(None, {"source": "old"}), add_fields(THEIRS, {"a": "b"})])
def test_fields_are_put_in_and_read_again(packet: bytes | None) -> None:
    added = add_fields(packet, FIELDS)
    assert read_fields(added) == FIELDS
    description = ElementTree.fromstring(added)[0][-1]
    assert description.get("{urn:bgai:recipe:1}note") == FIELDS["note"]
    assert (b"dc:format" in added) == (packet is not None and b"dc:format" in packet)


def test_fields_are_read_as_another_program_wrote_them_anew() -> None:
    packet = b'<rdf:Description xmlns:bgai="urn:bgai:recipe:1"><bgai:scale>4</bgai:scale><bgai:quality></bgai:quality>'
    assert read_fields(packet) == {"scale": "4", "quality": ""}


def test_a_packet_without_fields_has_none() -> None:
    assert read_fields(THEIRS) == {}
    assert read_fields(b'bgai:scale="4"') == {}


@pytest.mark.parametrize("packet", [b"", b"no packet", THEIRS.decode().encode("utf-16"), THEIRS.split(b"</rdf")[0]])
def test_a_packet_of_an_unknown_form_takes_no_fields(packet: bytes) -> None:
    assert not takes_fields(packet)
    with pytest.raises(ValueError, match="no XMP packet"):
        add_fields(packet, FIELDS)
    assert without_stale_fields(packet) == packet


@pytest.mark.parametrize(
    "packet",
    [
        THEIRS.replace(b"</rdf:RDF>", b"</rdf:RDF\n>"),
        THEIRS.replace(b"rdf:", b"r:").replace(b":rdf", b":r"),
        THEIRS.split(b"><rdf:Description")[0] + b"/></x:xmpmeta>",
    ],
)
def test_sound_packets_of_other_forms_take_fields(packet: bytes) -> None:
    assert takes_fields(packet)
    added = add_fields(packet, FIELDS)
    assert read_fields(added) == FIELDS
    assert ElementTree.fromstring(added)[0][-1].get("{urn:bgai:recipe:1}source") == FIELDS["source"]


def test_what_is_no_longer_true_is_taken_out_in_any_form() -> None:
    packet = (
        b'<rdf:Description GCamera:MotionPhoto=\'1\' tiff:Orientation="6" dc:format="a">'
        b"<GCamera:MicroVideoOffset>4000</GCamera:MicroVideoOffset><tiff:Orientation>6</tiff:Orientation>"
        b'<Container:Directory><rdf:Seq><rdf:li><Container:Item Item:Semantic="MotionPhoto"/></rdf:li></rdf:Seq>'
        b"</Container:Directory><tiff:Make>M</tiff:Make></rdf:Description>"
    )
    expected = b'<rdf:Description dc:format="a"><tiff:Make>M</tiff:Make></rdf:Description>'
    assert without_stale_fields(packet) == expected


@pytest.mark.parametrize(
    "part", [b"<Container:Directory ", b"<GCamera:MotionPhoto ", b' hdrgm:Version="', b"<rdf:Description "]
)
def test_a_packet_that_means_harm_takes_no_time(part: bytes) -> None:
    """PNG packs it: a file of 10 KB can hold these megabytes."""
    start = time.process_time()
    packet = part * 100_000
    without_stale_fields(packet)
    assert not takes_fields(packet)
    assert not read_fields(packet)
    assert time.process_time() - start < 2
