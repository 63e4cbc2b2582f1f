"""The campaign counts faults, hangs and crashes, goes on behind them, and repeats itself by its seed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random

from bgai.errors import ImageError
from campaign.mutations import cut, damaged, flipped
from campaign.runner import FaultError, run


class Behaving:
    """Does in each case what its number calls for."""

    title = "a kind for this test"
    seconds = 5.0

    def __init__(self, folder: Path) -> None:
        self._number = -1

    def attempt(self, random: Random, folder: Path) -> bool:
        match self._next():
            case 0:
                return True
            case 1:
                raise ImageError("refused")
            case 2:
                raise ImageError("")
            case 3:
                raise ValueError("not ours")
            case 4:
                raise FaultError("wrong pixels")
            case 5:
                os.write(2, b"from a library")
            case 6:
                (folder.parent / "outside").write_bytes(b"")
            case 7:
                time.sleep(60)
        return False

    def _next(self) -> int:
        self._number += 1
        return self._number


def test_each_fault_is_counted() -> None:
    lines: list[str] = []
    count = run(Behaving, "behaving", seed=1, seconds=60, most=8, report=lines.append)
    assert (count.title, count.tried, count.accepted) == ("a kind for this test", 8, 1)
    assert count.faults == [
        (2, "an error without words, or too many of them: "),
        (3, "ValueError: not ours"),
        (4, "wrong pixels"),
        (5, "prints from a library"),
        (6, "writes outside of its folder"),
        (7, "hangs: not done after 5 seconds"),
    ]
    assert lines[0].startswith("behaving --case 2: ")


class Crashing(Behaving):
    """Ends its process."""

    def attempt(self, random: Random, folder: Path) -> bool:
        if random.random() < 0.5:
            os.abort()
        return True


def test_a_crash_is_a_fault_and_the_next_case_follows() -> None:
    counts = [run(Crashing, "crashing", seed=2, seconds=60, most=6, report=lambda _: None) for _ in range(2)]
    assert counts[0].tried == 6
    assert 0 < len(counts[0].faults) < 6
    assert counts[0].faults == counts[1].faults
    assert {fault for _, fault in counts[0].faults} == {"the process ended: exit code -6"}


def test_damages_repeat_by_their_seed_and_differ_by_it() -> None:
    content = bytes(range(256)) * 4
    for damage in (damaged, flipped, cut):
        made = [damage(content, Random(seed)) for seed in (1, 1, 2, 3, 4)]
        assert made[0] == made[1]
        assert len(set(made)) > 2
        assert damage(b"", Random(1)) is not None
