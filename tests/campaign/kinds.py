"""All kinds of faults, by the names that the command line takes."""

from __future__ import annotations

import shutil

from campaign.caches import GraphCaches, LmdbStores, Records
from campaign.disks import Disks
from campaign.failing_calls import FailingCalls
from campaign.kills import Enlarging, Preparing, Testing, Training
from campaign.option_files import OptionFiles
from campaign.pictures import Pictures
from campaign.runner import MakeKind
from campaign.weights import Graphs, WeightsFiles

KINDS: dict[str, MakeKind] = {
    "pictures": Pictures,
    "weights": WeightsFiles,
    "graphs": Graphs,
    "options": OptionFiles,
    "caches": GraphCaches,
    "records": Records,
    "lmdb": LmdbStores,
    "disks": Disks,
    "kills-enlarging": Enlarging,
    "kills-preparing": Preparing,
    "kills-testing": Testing,
    "kills-training": Training,
}
if shutil.which("strace"):
    KINDS["failing-calls"] = FailingCalls
