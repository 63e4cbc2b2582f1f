"""Downloads of known content: bounded, verified before use, and continued at the next mirror where one breaks off."""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from bgai.atomic_files import whole_or_nothing
from bgai.errors import WeightsError
from bgai.types import Progress

_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 2**16
_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Pinned:
    """Size in bytes and SHA-256 that a download must have."""

    size: int
    sha256: str

    def is_in(self, content: bytes | bytearray) -> bool:
        """Whether the content has this size and SHA-256."""
        return len(content) == self.size and hashlib.sha256(content).hexdigest() == self.sha256


def download(urls: Sequence[str], pinned: Pinned, target: Path, progress: Progress | None = None) -> None:
    """Fetch a file from the first mirror that gives it; `target` appears whole and verified, or not at all.

    Args:
        urls: The same file at several mirrors: `https`, or `http` on this machine. Redirects lead to `https` alone.
        pinned: Size and SHA-256 of the file; no more bytes are read from a mirror.
        target: Where to put it; replaced if there.
        progress: Called as bytes come in.

    Raises:
        WeightsError: No mirror gives this content.
        OutputError: `target` cannot be written.
    """
    content = bytearray()
    failures = []

    def advance() -> None:
        if progress:
            progress(target.name, len(content), pinned.size)

    for url in urls:
        failure = _try_mirror(url, pinned, content, advance)
        if failure is None:
            with whole_or_nothing(target) as partial:
                partial.write_bytes(content)
            return
        failures.append(f"{url.partition('://')[2].partition('/')[0] or url} ({failure})")
    raise WeightsError(
        f"{target.name}: download failed: {', '.join(failures)}; fetch {urls[0]} on another machine and name the file",
        parameter="weights",
    )


def _try_mirror(url: str, pinned: Pinned, content: bytearray, advance: Callable[[], None]) -> str | None:
    """Complete the content, or fetch it anew where it does not fit the earlier part; return what failed."""
    continued = bool(content)
    try:
        _fetch(url, pinned, content, advance)
        if pinned.is_in(content):
            return None
        failure = (
            f"SHA-256 {hashlib.sha256(content).hexdigest()[:12]}… is not the pinned {pinned.sha256[:12]}…; not used"
        )
        content.clear()
    except HTTPError as error:
        error.close()
        failure = f"{error.code} {error.reason}"
        if continued:  # perhaps it does not know parts of files
            content.clear()
    except (OSError, ValueError, http.client.HTTPException) as error:
        failure = " ".join(str(getattr(error, "reason", error)).split())
    return _try_mirror(url, pinned, content, advance) if continued and not content else failure


def _fetch(url: str, pinned: Pinned, content: bytearray, advance: Callable[[], None]) -> None:
    """Append the missing bytes; start again if the mirror sends the file from its beginning."""
    address = urlsplit(url)
    if address.scheme != "https" and (address.scheme, address.hostname in _THIS_MACHINE) != ("http", True):
        raise ValueError("not an https address")
    headers = {"Range": f"bytes={len(content)}-"} if content else {}
    with _OPENER.open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_SECONDS) as response:
        if response.status != 206:  # the whole, whatever was asked for
            content.clear()
        announced = response.headers.get("Content-Length")
        if announced and len(content) + int(announced) != pinned.size:
            content.clear()
            raise ValueError(f"{int(announced):,} bytes instead of {pinned.size:,}")
        while chunk := response.read(min(_CHUNK_BYTES, pinned.size - len(content))):
            content += chunk
            advance()
    if len(content) < pinned.size:
        raise ValueError(f"broke off after {len(content):,} of {pinned.size:,} bytes")


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https":
            raise ValueError(f"redirects to {newurl}, which is not an https address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_SecureRedirects)
