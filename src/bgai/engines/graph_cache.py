"""Compiled graphs on disk, each checked before it is used: a damaged one would give wrong pixels and no error."""

from __future__ import annotations

import ctypes
import hashlib
import io
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from bgai.atomic_files import make_folder, whole_or_nothing
from bgai.engines.openvino_runtime import COMPILING, GUARD, VERSION, CompiledModel, Model, core
from bgai.errors import OutputError

KEPT_FILES = 64
_DIGEST_BYTES = 32

log = logging.getLogger(__name__)


class GraphCache:
    """Compiles graphs for a device, or takes what an earlier call left in a folder.

    A file holds the SHA-256 of its key and graph, and then the graph as OpenVINO writes it.

    Args:
        folder: Where graphs are kept; None keeps none.
        device: OpenVINO's name of it, such as `CPU` or `GPU.1`.
    """

    def __init__(self, folder: Path | None, device: str = "CPU") -> None:
        self._device = device
        self._folder = make_folder(folder) if folder else None

    def compile(self, build: Callable[[], Model], key: str, settings: Mapping[str, str]) -> CompiledModel:
        """Compile a graph, or load it.

        Args:
            build: Makes the graph where no file holds it.
            key: Identifies the graph; settings, OpenVINO's version and the processor are added here.
            settings: OpenVINO's.

        Raises:
            RuntimeError: OpenVINO cannot compile the graph.
            EngineError: OpenVINO was used before this process was forked.
        """
        GUARD.check()  # in a forked process the lock may be held for ever
        with COMPILING:
            if self._folder is None:
                return _compile(build, self._device, settings)
            key = "\n".join((key, repr(sorted(settings.items())), VERSION, _processor(self._device)))
            file = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.graph"
            compiled = self._load(file, key, settings)
            if compiled is None:
                compiled = _compile(build, self._device, settings)
                self._keep(file, key, compiled)
            trim_heap()
            return compiled

    def _load(self, file: Path, key: str, settings: Mapping[str, str]) -> CompiledModel | None:
        try:
            content = file.read_bytes()
            file.touch()  # the oldest are removed
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s: cannot be read, so the graph is compiled anew: %s", file, error.strerror or error)
            return None
        digest, graph = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        with suppress(RuntimeError):
            if digest == _digest(key, graph):
                return core().import_model(io.BytesIO(graph), self._device, dict(settings))
        log.warning("%s: damaged, so the graph is compiled anew", file)
        return None

    def _keep(self, file: Path, key: str, compiled: CompiledModel) -> None:
        graph: bytes = compiled.export_model().getvalue()
        with suppress(OutputError), whole_or_nothing(file) as partial:
            partial.write_bytes(_digest(key, graph) + graph)
        with suppress(OSError):
            others = [other for other in file.parent.glob("*.graph") if other != file]
            others.sort(key=lambda other: other.stat().st_mtime)
            for other in others[: max(len(others) + 1 - KEPT_FILES, 0)]:
                other.unlink(missing_ok=True)


def trim_heap() -> None:
    """Return the memory that compiling has freed to the system: some 30 MiB that glibc would keep."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _compile(build: Callable[[], Model], device: str, settings: Mapping[str, str]) -> CompiledModel:
    return core().compile_model(build(), device, dict(settings))


def _digest(key: str, graph: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + graph).digest()


def _processor(device: str) -> str:
    """The device, and name and capabilities of its processor, which compiled graphs depend on."""
    names = ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
    return " ".join((device, *(str(core().get_property(device, name)) for name in names)))
