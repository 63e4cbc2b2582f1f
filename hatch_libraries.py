"""The compiled libraries of the engine `native` in a wheel for Linux, if the environment variable BGAI_NATIVE is set.

They are those of the architecture that the wheel is built on. Without the variable the wheel is for every system, and
the library is compiled at the engine's first use.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeLibraries(BuildHookInterface):
    """Adds the libraries to a wheel, and its platform to the wheel's name."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile them; `version` is `editable` for a wheel that points to the source, which gets none."""
        if not os.environ.get("BGAI_NATIVE") or version == "editable":
            return
        sys.path.insert(0, str(Path(self.root, "src")))
        from bgai.engines.native_build import LEVELS, STANDALONE, compile_library, find_compiler

        machine = platform.machine()
        if sys.platform != "linux" or machine not in LEVELS:
            raise RuntimeError(f"BGAI_NATIVE is set, and there is no engine native for {sys.platform} on {machine}")
        self._folder = tempfile.TemporaryDirectory(prefix="bgai-")
        for level in LEVELS[machine]:
            library = Path(self._folder.name, f"{level}.so")
            library.write_bytes(compile_library(level, find_compiler(), STANDALONE))
            build_data["force_include"][str(library)] = f"bgai/engines/libraries/{level}.so"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-linux_{machine}"
