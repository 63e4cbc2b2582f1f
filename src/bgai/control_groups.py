"""The control groups of this process, by which Linux limits what containers may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def own_groups(controller: str, root: Path = ROOT, own: Path = OWN) -> Iterator[tuple[Path, int]]:
    """Folders that may hold the files of a group, from the innermost outwards, and their version, 1 or 2.

    Nothing where there are no control groups.

    Args:
        controller: What is limited, as version 1 calls it: `memory` or `cpu`.
        root: Where the groups are.
        own: The file that says which of them this process belongs to.

    Source: the kernel's documentation of control groups, versions 1 and 2.
    """
    with suppress(OSError, ValueError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                folder, version = root / path.lstrip("/"), 2
            elif controller in controllers.split(","):
                folder, version = root / controller / path.lstrip("/"), 1
            else:
                continue
            # A container may see itself as the root, or under the path that it has outside.
            for each in (folder, *folder.parents):
                if each.is_relative_to(root):
                    yield each, version
