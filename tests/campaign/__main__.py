"""Run the campaign and print its table.

.venv/bin/python tests/campaign --seed 1 --minutes 60
.venv/bin/python tests/campaign --only pictures --seed 1 --case 1234

Each kind gets an equal share of the time; what one does not need goes to the next. The exit code is 1 if there were
faults. Needs the extra `dev`; Linux, root for full disks, and strace for failing system calls.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from campaign.kinds import KINDS
from campaign.runner import Count, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0, help="of all kinds together")
    parser.add_argument("--most", type=int, default=10**9, help="cases of a kind")
    parser.add_argument("--only", nargs="+", choices=sorted(KINDS), default=list(KINDS), metavar="KIND")
    parser.add_argument("--case", type=int, help="run the case of this number alone")
    given = parser.parse_args()
    first, most = (0, given.most) if given.case is None else (given.case, 1)
    end = time.monotonic() + given.minutes * 60
    counts = []
    for number, name in enumerate(given.only):
        seconds = (end - time.monotonic()) / (len(given.only) - number)
        counts.append(run(KINDS[name], name, seed=given.seed, seconds=seconds, most=most, first=first))
        print(f"{name}: {counts[-1].tried} tried, {len(counts[-1].faults)} faults", flush=True)
    print(f"\nSeed {given.seed}, {datetime.now(timezone.utc):%Y-%m-%d}\n\n{table(counts)}")
    return int(any(count.faults for count in counts))


def table(counts: list[Count]) -> str:
    """In Markdown."""
    rows = ["| kind | tried | accepted | minutes | faults |", "|---|---|---|---|---|"]
    rows += [
        f"| {each.title} | {each.tried:,} | {each.accepted:,} | {each.seconds / 60:.1f} | {len(each.faults)} |"
        for each in counts
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
