"""What an engine says of its runtime's errors: a want of memory is told from all else."""

from __future__ import annotations

import numpy as np
import pytest
from support import texture

from bgai.engines.base import run_error
from bgai.engines.openvino_engine import OpenVinoEngine
from bgai.errors import EngineError
from bgai.upscaling.upscaler import Upscaler


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_a_want_of_memory_leads_to_smaller_tiles(error: Exception) -> None:
    found = run_error(error, "the runtime", (20, 30))
    assert str(found) == "tiles of 30 x 20 need more memory than the runtime can have; choose smaller ones"
    assert found.parameter == "tile"


def test_all_else_is_named() -> None:
    found = run_error(RuntimeError("Infer Request is busy,\n  memory descriptors differ"), "OpenVINO", None)
    assert str(found) == "OpenVINO cannot run tiles: Infer Request is busy, memory descriptors differ"
    assert not found.parameter
    assert str(run_error(RuntimeError(), "OpenVINO", None)) == "OpenVINO cannot run tiles: RuntimeError"


def test_the_cause_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    cause = RuntimeError("Infer Request is busy")

    def fail(*arguments: object) -> None:
        raise cause

    monkeypatch.setattr(OpenVinoEngine, "_enlarge", fail)
    with pytest.raises(EngineError, match=r"OpenVINO cannot run tiles of 30 x 20: Infer Request is busy") as error:
        Upscaler(engine="openvino").upscale(np.asarray(texture(20, 30)))
    assert error.value.__cause__ is cause
