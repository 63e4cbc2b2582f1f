"""Runs the service: its address, its process, and the browser that is opened on it."""

from __future__ import annotations

import socket
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from bgai.errors import UsageError
from bgai.web.logs import log_as_json
from bgai.web.routes import make_app
from bgai.web.settings import ServiceSettings

_MOST_CONNECTIONS = 500
_MOST_OF_HEADERS = 2**15  # bytes
_SECONDS_TO_END = 3


class Server(uvicorn.Server):
    """uvicorn, which tells the service to end its streams before it waits for them."""

    def __init__(self, app: Starlette, ready: Callable[[], None], own_logs: bool = True) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=uvicorn.config.LOGGING_CONFIG if own_logs else None,
                access_log=False,
                log_level="warning",
                proxy_headers=False,
                server_header=False,
                http="h11",
                ws="none",
                limit_concurrency=_MOST_CONNECTIONS,
                h11_max_incomplete_event_size=_MOST_OF_HEADERS,
                timeout_graceful_shutdown=_SECONDS_TO_END,
            )
        )
        self._app = app
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.service.end_streams()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End in order at the first signal, and without waiting for clients at the second."""
        self.force_exit = self.should_exit
        self.should_exit = True


def serve(settings: ServiceSettings, *, browser: bool, json_log: bool, tell: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        settings: Address and limits; in its folder each port has one of its own.
        browser: Whether a browser is opened.
        json_log: Whether requests, finished jobs and errors are written to standard error, as JSON.
        tell: Called with the page's address once the service is up.

    Raises:
        UsageError: The address cannot be had.
        OutputError: The folder for uploads and results cannot be made.
    """
    if json_log:
        log_as_json()
    bound = bind(settings.host, settings.port)
    # Who has the port has the folder: two services never work on the same jobs.
    app = make_app(replace(settings, folder=settings.folder / str(bound.getsockname()[1])))
    address = page_address(settings, bound)

    def ready() -> None:
        tell(address)
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    Server(app, ready, own_logs=not json_log).run(sockets=[bound])


def bind(host: str, port: int) -> socket.socket:
    """Take an address, before anything else is done.

    Raises:
        UsageError: Another process has it, or it is none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise UsageError(
            f"{host}:{port}: cannot be served: {error.strerror or error}; choose another port", parameter="port"
        ) from error
    return bound


def page_address(settings: ServiceSettings, bound: socket.socket) -> str:
    """Where a browser finds the page; the token is in the fragment, which is never sent."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{bound.getsockname()[1]}/" + (f"#token={settings.token}" if settings.token else "")
