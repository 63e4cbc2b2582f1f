"""IPTC records in the forms of JPEG and TIFF."""

from __future__ import annotations

import pytest

from bgai.pictures.iptc import as_records, as_resource

RECORDS = b"\x1c\x02\x19\x00\x03cat"


@pytest.mark.parametrize("records", [RECORDS, RECORDS + b"x", b""])
def test_there_and_back(records: bytes) -> None:
    assert as_records(as_resource(records)) == records
    assert as_records(records) == records
    assert as_resource(as_resource(records)) == as_resource(records)


def test_other_resources_are_passed_over() -> None:
    other = b"8BIM\x04\x25\x03abc\0\0\0\x03xyz\0"
    whole = as_resource(RECORDS)
    assert as_records(whole[:14] + other + whole[14:]) == RECORDS


@pytest.mark.parametrize("length", range(14, 34))
def test_resources_that_end_early(length: int) -> None:
    assert RECORDS.startswith(as_records(as_resource(RECORDS)[:length]))
