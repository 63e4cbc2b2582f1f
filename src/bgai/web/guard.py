"""Checks before all routes: who may ask, how much may be sent; and the headers of answers that browsers obey."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bgai.web.service import RefusedError
from bgai.web.settings import ServiceSettings, as_address, is_loopback

COOKIE = "bgai"
_IDLE_SECONDS = 30  # without a byte of an upload
_MOST_ADDRESSES = 10_000
_OPEN = ("/v1/session", "/healthz")  # and all that is not below /v1
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


class Guard:
    """ASGI middleware: hosts, origins, the token, rate and size of uploads."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app = app
        self._settings = settings
        self._rate = RateLimit(settings.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope, Headers(scope=scope))
        except RefusedError as refusal:
            await refused(refusal)(scope, receive, send_guarded)
            return
        await self._app(scope, self._limited(receive), send_guarded)

    def _check(self, scope: Scope, headers: Headers) -> None:
        self._check_host(headers)
        self._check_origin(scope, headers)
        path = scope["path"]
        if self._settings.token and path.startswith("/v1/") and path not in _OPEN and not self._knows_token(headers):
            raise RefusedError(401, "this service needs its token: send it as 'Authorization: Bearer TOKEN'")
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._settings.max_bytes:
            raise self._too_large()
        if scope["method"] == "POST":
            wait = self._rate.take(scope["client"][0] if scope["client"] else "", time.monotonic())
            if wait:
                raise RefusedError(429, f"more than {self._settings.rate} requests in a minute; ask again later", wait)

    def _check_host(self, headers: Headers) -> None:
        """Another site whose name was pointed at this machine (DNS rebinding) asks under its own name."""
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        allowed = host in self._settings.names or is_loopback(host)
        if not allowed and self._settings.token:
            allowed = as_address(host) is not None or host == self._settings.host
        if not allowed:
            raise RefusedError(421, f"host {host[:100]!r}: not a name of this service")

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        """Other sites may link to the page, and nothing else."""
        origin = headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            linked = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate" and scope["path"] == "/"
            foreign = foreign or not linked
        if foreign:
            raise RefusedError(403, "asked for by another site; open the page of this service itself")

    def _knows_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and same(given.strip(), self._settings.token):
            return True
        return same(_cookie(headers), cookie_value(self._settings.token))

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"the upload is larger than the limit of {self._settings.max_megabytes:g} MB here")

    def _limited(self, receive: Receive) -> Receive:
        received, complete = 0, False

        async def limited() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), _IDLE_SECONDS)
            except asyncio.TimeoutError:
                raise RefusedError(408, f"nothing of the upload came in {_IDLE_SECONDS} seconds") from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self._settings.max_bytes:
                raise self._too_large()
            return message

        return limited


class RateLimit:
    """Lets each address ask so many times a minute; a minute's worth at once."""

    def __init__(self, each_minute: int) -> None:
        self._each_minute = each_minute
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str, now: float) -> int:
        """Count a request at a time in seconds; 0, or the seconds to wait."""
        left, then = self._left.pop(address, (float(self._each_minute), now))
        left = min(self._each_minute, left + (now - then) * self._each_minute / 60)
        allowed = left >= 1
        self._left[address] = (left - allowed, now)
        if len(self._left) > _MOST_ADDRESSES:
            self._left.popitem(last=False)
        return 0 if allowed else max(1, round((1 - left) * 60 / self._each_minute))


def refused(refusal: RefusedError) -> JSONResponse:
    """The answer to a request that is not served."""
    headers: dict[str, str] = {}
    if refusal.retry_seconds is not None:
        headers["retry-after"] = str(refusal.retry_seconds)
    if refusal.status == 401:
        headers["www-authenticate"] = "Bearer"
    if refusal.status in (408, 413, 415, 429, 503):
        headers["connection"] = "close"  # what else comes of an upload is not read
    return JSONResponse({"error": str(refusal)}, refusal.status, headers)


def same(given: str, expected: str) -> bool:
    """Compare secrets, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))


def cookie_value(token: str) -> str:
    """What browsers keep in place of the token."""
    return hmac.digest(token.encode(), b"the page's cookie", hashlib.sha256).hex()


def _cookie(headers: Mapping[str, str]) -> str:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""
