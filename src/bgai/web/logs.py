"""Logs for programs: a JSON object a line. Names of pictures, labels of clients and ids of jobs are left out."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from datetime import datetime, timezone

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("bgai.web")
_ID = re.compile(r"/[0-9a-f]{32}(?=/|$)")
_LONGEST_PATH = 100  # characters


class JsonFormatter(logging.Formatter):
    """Time, level and message, what the call gave as `extra={"fields": …}`, and the traceback of an error."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        entry = {"time": time, "level": record.levelname.lower(), "message": record.getMessage()}
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def log_as_json() -> None:
    """Write all logs of this process to standard error, requests and finished jobs among them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    log.setLevel(logging.INFO)


class RequestLog:
    """ASGI middleware: a line for each request once it is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not log.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        start, status, size = time.monotonic(), 0, 0

        async def send_counted(message: Message) -> None:
            nonlocal status, size
            status = message.get("status", status)
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            fields = {
                "method": scope["method"],
                "path": _ID.sub("/ID", scope["path"])[:_LONGEST_PATH],
                "status": status,
                "bytes": size,
                "seconds": round(time.monotonic() - start, 3),
                "address": scope["client"][0] if scope["client"] else "",
            }
            log.info("request", extra={"fields": fields})
