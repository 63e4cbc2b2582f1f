"""Downloads from real servers on this machine, which break off, redirect, lie and forget."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bgai.errors import WeightsError
from bgai.weights.download import Pinned, _SecureRedirects, download

CONTENT = bytes(range(256)) * 1200
PINNED = Pinned(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Handler(BaseHTTPRequestHandler):
    """Gives the whole file; the others differ from it by what their names say."""

    asked: list[str | None]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Range"))
        self.answer(int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-")))

    def answer(self, start: int) -> None:
        self.give(200, CONTENT)

    def give(self, status: int, content: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)


class BreaksOff(Handler):
    def answer(self, start: int) -> None:
        self.give(200, CONTENT[:100_000], len(CONTENT))


class GoesOn(Handler):
    def answer(self, start: int) -> None:
        if start == 0:
            return self.give(500, b"")
        last = len(CONTENT) - 1
        return self.give(206, CONTENT[start:], Content_Range=f"bytes {start}-{last}/{len(CONTENT)}")


class GoesOnElsewhere(Handler):
    """Gives another part than it was asked for."""

    def answer(self, start: int) -> None:
        if start == 0:
            return self.give(200, CONTENT)
        return self.give(206, CONTENT[7:], Content_Range=f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}")


class KnowsNoParts(Handler):
    def answer(self, start: int) -> None:
        self.give(416 if start else 200, b"" if start else CONTENT)


class Wrong(Handler):
    def answer(self, start: int) -> None:
        self.give(200, b"x" * len(CONTENT))


class WrongThenBreaksOff(Handler):
    def answer(self, start: int) -> None:
        self.give(200, b"x" * 100_000, len(CONTENT))


class GivesParts(Handler):
    def answer(self, start: int) -> None:
        if start == 0:
            return self.give(200, CONTENT)
        return self.give(206, CONTENT[start:], Content_Range=f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")


class TooLong(Handler):
    def answer(self, start: int) -> None:
        self.give(200, CONTENT + b"more")


class Endless(Handler):
    def answer(self, start: int) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(10_000))
        except OSError:
            pass


class Redirects(Handler):
    def answer(self, start: int) -> None:
        assert isinstance(self.server, ThreadingHTTPServer)
        self.give(302, b"", Location=f"http://127.0.0.1:{self.server.server_port}/elsewhere")


class Silent(Handler):
    def answer(self, start: int) -> None:
        self.wfile.write(b"nonsense\r\n\r\n")


@contextmanager
def served(kind: type[Handler]) -> Iterator[tuple[str, list[str | None]]]:
    """A mirror's address, and the ranges that it was asked for."""
    asked: list[str | None] = []
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (kind,), {"asked": asked}))
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/file.pth", asked
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


@pytest.fixture
def mirrors() -> Iterator[Callable[[type[Handler]], tuple[str, list[str | None]]]]:
    with ExitStack() as stack:
        yield lambda kind: stack.enter_context(served(kind))


Mirrors = Callable[[type[Handler]], tuple[str, list[str | None]]]


def test_the_file_appears_and_progress_is_told(mirrors: Mirrors, tmp_path: Path) -> None:
    url, asked = mirrors(Handler)
    told: list[tuple[str, int, int]] = []
    download([url], PINNED, tmp_path / "new/file.pth", lambda *done: told.append(done))
    assert (tmp_path / "new/file.pth").read_bytes() == CONTENT
    assert asked == [None]
    assert len(told) > 2
    assert told == sorted(told)
    assert told[-1] == ("file.pth", len(CONTENT), len(CONTENT))
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["file.pth"]


@pytest.mark.parametrize(
    ("kinds", "ranges"),
    [
        ([BreaksOff, GoesOn], [[None], ["bytes=100000-"]]),
        ([BreaksOff, Handler], [[None], ["bytes=100000-"]]),
        ([BreaksOff, KnowsNoParts], [[None], ["bytes=100000-", None]]),
        ([BreaksOff, GoesOnElsewhere], [[None], ["bytes=100000-", None]]),
        ([WrongThenBreaksOff, GivesParts], [[None], ["bytes=100000-", None]]),
        ([BreaksOff, Silent, GoesOn], [[None], ["bytes=100000-"], ["bytes=100000-"]]),
        ([TooLong, Handler], [[None], [None]]),
        ([Wrong, Handler], [[None], [None]]),
        ([Redirects, Handler], [[None], [None]]),
        ([GoesOn, Silent, Handler], [[None], [None], [None]]),
    ],
    ids=lambda value: "-".join(kind.__name__ for kind in value) if isinstance(value[0], type) else "",
)
def test_the_next_mirror_goes_on(
    kinds: list[type[Handler]], ranges: list[list[str | None]], mirrors: Mirrors, tmp_path: Path
) -> None:
    found = [mirrors(kind) for kind in kinds]
    download([url for url, _ in found], PINNED, tmp_path / "file.pth")
    assert (tmp_path / "file.pth").read_bytes() == CONTENT
    assert [asked for _, asked in found] == ranges


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (BreaksOff, r"broke off after 100,000 of 307,200 bytes"),
        (Wrong, r"SHA-256 .*… is not the pinned"),
        (TooLong, r"307,204 bytes instead of 307,200"),
        (Endless, r"is not the pinned"),
        (Redirects, r"redirects to http://.*/elsewhere, which is not an https address"),
        (GoesOn, r"500 Internal Server Error"),
        (Silent, r"nonsense"),
    ],
)
def test_nothing_is_left_of_what_failed(kind: type[Handler], message: str, mirrors: Mirrors, tmp_path: Path) -> None:
    url, _ = mirrors(kind)
    with pytest.raises(WeightsError, match=message) as error:
        download([url], PINNED, tmp_path / "file.pth")
    assert str(error.value).startswith("file.pth: download failed: 127.0.0.1:")
    assert str(error.value).endswith(f"fetch {url} on another machine and name the file")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["http://example.org/a.pth", "file:///etc/passwd", "ftp://127.0.0.1/a", "nonsense"])
def test_other_addresses_are_not_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not an https address"):
        download([url], PINNED, tmp_path / "file.pth")


def test_all_failures_are_named(mirrors: Mirrors, tmp_path: Path) -> None:
    urls = [mirrors(kind)[0] for kind in (Wrong, GoesOn)]
    with pytest.raises(WeightsError, match=r"not the pinned .*, 127\.0\.0\.1:\d+ \(500 "):
        download(urls, PINNED, tmp_path / "file.pth")


def test_several_processes_at_once(mirrors: Mirrors, tmp_path: Path) -> None:
    url, _ = mirrors(Handler)
    context = multiprocessing.get_context("spawn")
    target = tmp_path / "file.pth"
    processes = [context.Process(target=download, args=([url], PINNED, target)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert target.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [target]


def test_redirects_lead_to_https_alone() -> None:
    request = urllib.request.Request("https://a/b", headers={"Range": "bytes=5-"})
    follow = _SecureRedirects().redirect_request
    found = follow(request, io.BytesIO(), 302, "Found", {}, "https://c/d")
    assert found is not None
    assert (found.full_url, found.get_header("Range")) == ("https://c/d", "bytes=5-")
    for url in ("http://127.0.0.1/d", "ftp://c/d"):
        with pytest.raises(ValueError, match="not an https address"):
            follow(request, io.BytesIO(), 302, "Found", {}, url)


def test_an_address_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"download failed: \[x \("):
        download(["http://[x/a.pth"], PINNED, tmp_path / "file.pth")
