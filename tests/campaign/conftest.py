"""The campaign is for Linux alone: it limits the sizes of files, mounts disks, and measures memory."""

from __future__ import annotations

import sys

collect_ignore_glob = [] if sys.platform.startswith("linux") else ["*.py"]
