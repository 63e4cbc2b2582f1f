"""A short campaign of each kind, and the table of one."""

from __future__ import annotations

import pytest

from campaign.__main__ import table
from campaign.kinds import KINDS
from campaign.runner import Count, run


def test_the_table_has_a_row_for_each_kind() -> None:
    row = table([Count("pictures", tried=1234, accepted=5, seconds=90, faults=[(1, "x")])]).splitlines()[-1]
    assert row == "| pictures | 1,234 | 5 | 1.5 | 1 |"


@pytest.mark.campaign
@pytest.mark.parametrize("name", KINDS)
def test_a_minute_of_each_kind_has_no_fault(name: str) -> None:
    count = run(KINDS[name], name, seed=0, seconds=60, most=10**6)
    assert count.tried
    assert count.faults == []
