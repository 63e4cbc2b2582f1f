"""Pictures and folders that several tests share."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import bgai.weights.sources
from bgai.processors import limit_threads

# Tensors this small gain nothing from more threads, and lose much where other work holds the cores.
torch.set_num_threads(1)

# Below a shell that started the tests in the background Ctrl-C is ignored, and would be by all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep downloads and compiled graphs of tests out of the user's cache."""
    monkeypatch.setenv("BGAI_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _no_thread_limit() -> Iterator[None]:
    yield
    limit_threads(None)


@pytest.fixture(autouse=True)
def _no_handler_for_children() -> Iterator[None]:
    """PyTorch's loaders leave a handler for ended children; after OpenVINO's graphs are freed, a run of it crashes."""
    yield
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@pytest.fixture
def photo_weights(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the package's, with its ×4 weights and a stand-in for `photo`; not ×2 nor ×3."""
    folder = tmp_path_factory.mktemp("shipped")
    plain = bgai.weights.sources.SHIPPED / "bgai_x4.safetensors"
    random = np.random.default_rng(0)
    tensors = {
        name: tensor + 0.02 * tensor.std() * random.standard_normal() for name, tensor in load_file(plain).items()
    }
    save_file({name: tensor.astype(np.float32) for name, tensor in tensors.items()}, folder / "photo_x4.safetensors")
    shutil.copy(plain, folder)
    monkeypatch.setattr(bgai.weights.sources, "SHIPPED", folder)
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference data that is not part of the project."""
    if not SHARED.is_dir():
        pytest.skip("reference data (released checkpoints, benchmark images) is not on this machine")
    return SHARED
