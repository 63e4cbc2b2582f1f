"""Services for the tests of this room."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from web_support import Client, running

from bgai.errors import ImageError
from bgai.web.engine_thread import EngineThread
from bgai.web.job import Job
from bgai.web.settings import ServiceSettings

if TYPE_CHECKING:
    from browser_support import Browser


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    return ServiceSettings(tmp_path / "jobs", port=0)


@pytest.fixture
def serve(settings: ServiceSettings) -> Iterator[Callable[..., Client]]:
    """Starts a service with other settings than the usual ones."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(running(replace(settings, **changes)))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One service for all tests of a file that leave its settings alone."""
    with running(ServiceSettings(tmp_path_factory.mktemp("jobs"), port=0)) as client:
        yield client


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Jobs go on only when this is set, or when nobody wants them any more; until then they are running."""
    release = threading.Event()
    enlarge = EngineThread._enlarge

    def hold(self: EngineThread, job: Job, folder: Path) -> None:
        while not (release.wait(0.02) or self._unwanted(job)):
            pass
        if self._unwanted(job):
            raise ImageError("not wanted")
        enlarge(self, job, folder)

    monkeypatch.setattr(EngineThread, "_enlarge", hold)
    yield release
    release.set()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from browser_support import running_browser

    with running_browser() as browser:
        yield browser
