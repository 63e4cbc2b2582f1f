"""A service on loopback, who asks it, and small pictures to send."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from support import texture

from bgai.web.routes import make_app
from bgai.web.server import Server, bind
from bgai.web.service import Service
from bgai.web.settings import ServiceSettings

_MOST_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])


@dataclass(slots=True)
class Client:
    """Asks a running service."""

    port: int
    service: Service

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=_MOST_SECONDS)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        return self._ask(method, path, body, headers)

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        connection = self.connect()
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, None, headers)

    def send(self, path: str, picture: bytes, **headers: str) -> Answer:
        return self._ask("POST", path, picture, {"content_type": "application/octet-stream"} | headers)

    def add(self, picture: bytes, query: str = "") -> dict[str, Any]:
        answer = self.send(f"/v1/jobs?{query}", picture)
        assert answer.status == 202, answer.body
        job: dict[str, Any] = answer.json
        return job

    def finished(self, id: str) -> dict[str, Any]:
        """Wait until a job is done or failed."""
        end = time.monotonic() + _MOST_SECONDS
        while time.monotonic() < end:
            job: dict[str, Any] = self.get(f"/v1/jobs/{id}").json
            if job["state"] in ("done", "failed"):
                return job
            time.sleep(0.05)
        raise AssertionError(f"job {id} is still {job['state']}")


Serve = Callable[..., Client]
"""Starts a service with other settings than the usual ones."""


@contextmanager
def running(settings: ServiceSettings) -> Iterator[Client]:
    """A service in a thread of this process."""
    bound = bind(settings.host, settings.port)
    app = make_app(settings)
    ready = threading.Event()
    server = Server(app, ready.set)
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    try:
        assert ready.wait(_MOST_SECONDS)
        yield Client(bound.getsockname()[1], app.state.service)
    finally:
        server.should_exit = True
        thread.join()
        bound.close()


@contextmanager
def served(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the line that it printed."""
    command = [sys.executable, "-m", "bgai", "serve", "--no-browser", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process, process.stdout.readline()
        finally:
            process.kill()


def eventually(holds: Callable[[], object]) -> bool:
    """Whether something comes to hold, on the slowest of machines."""
    end = time.monotonic() + _MOST_SECONDS
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.05)
    return bool(held)


def picture(suffix: str = ".png", height: int = 10, width: int = 12, **save: Any) -> bytes:
    """The bytes of a small picture."""
    return encoded(texture(height, width), suffix, **save)


def encoded(pixels: NDArray[np.uint8], suffix: str, **save: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, {".jpg": "jpeg", ".tif": "tiff"}.get(suffix, suffix[1:]), **save)
    return file.getvalue()
