"""Who may ask, and how much may be sent."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

import numpy as np
import pytest
from web_support import Client, Serve, encoded, eventually, picture

import bgai.web.guard
from bgai.errors import UsageError
from bgai.web.guard import RateLimit
from bgai.web.settings import ServiceSettings

TOKEN = "a token of 24 characters"


def test_other_hosts_are_refused(client: Client) -> None:
    """A foreign name that points here (DNS rebinding) is not answered."""
    for host in ("evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "192.168.1.2"):
        assert client.get("/v1/info", host=host).status == 421
    for host in ("localhost", f"127.0.0.1:{client.port}", "[::1]:1"):
        assert client.get("/v1/info", host=host).status == 200


def test_other_sites_are_refused(client: Client) -> None:
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{client.port + 1}"):
        assert client.send("/v1/jobs", picture(), origin=origin).status == 403
    assert client.get("/v1/info", sec_fetch_site="cross-site").status == 403
    assert client.get("/", sec_fetch_site="cross-site", sec_fetch_mode="navigate").status == 200
    assert client.get("/v1/info", origin=client.url).status == 200


def test_answers_forbid_what_the_page_does_not_need(client: Client) -> None:
    headers = client.get("/").headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_without_the_token_nothing_but_the_page_and_health(serve: Serve) -> None:
    client = serve(token=TOKEN)
    for path in ("/v1/info", "/v1/jobs?client=a", "/v1/openapi.json", "/v1/metrics"):
        refused = client.get(path)
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert client.send("/v1/upscale", picture(), authorization="Bearer wrong").status == 401
    assert client.get("/v1/info", authorization=f"Bearer {TOKEN}").status == 200
    assert client.get("/").status == client.get("/healthz").status == 200


def test_a_browser_gets_a_cookie_for_the_token(serve: Serve) -> None:
    client = serve(token=TOKEN)
    assert client.ask("POST", "/v1/session", b"wrong").status == 401
    opened = client.ask("POST", "/v1/session", TOKEN.encode())
    cookie = opened.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert client.get("/v1/info", cookie=cookie.split(";")[0]).status == 200
    assert client.get("/v1/info", cookie="bgai=wrong").status == 401


def test_large_uploads_are_refused(serve: Serve) -> None:
    client = serve(max_megabytes=0.1)
    assert client.send("/v1/jobs", bytes(100_001)).status == 413
    with socket.create_connection(("127.0.0.1", client.port), timeout=300) as connection:
        head = (
            "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(head.encode())
        answer = b""
        while not select.select([connection], [], [], 0.05)[0]:  # and so on without an end
            connection.sendall(b"2710\r\n" + bytes(10_000) + b"\r\n")
        with contextlib.suppress(ConnectionResetError):  # the service closes while chunks are still under way
            while part := connection.recv(4096):
                answer += part
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"the upload is larger than the limit of 0.1 MB here" in answer
    assert not list(client.service.settings.folder.iterdir())


def test_an_upload_that_breaks_off_leaves_nothing(serve: Serve) -> None:
    client = serve()
    with socket.create_connection(("127.0.0.1", client.port), timeout=300) as connection:
        head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 5000\r\n\r\n"
        connection.sendall(head.encode() + picture()[:20])
        assert eventually(lambda: list(client.service.settings.folder.iterdir()))
    assert eventually(lambda: not list(client.service.settings.folder.iterdir()))
    assert not client.service.jobs


def test_many_headers_are_refused(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=300) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        connection.sendall(b"".join(b"X-%d: much\r\n" % number for number in range(10_000)))
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_large_pictures_are_refused(serve: Serve) -> None:
    client = serve(max_megapixels=0.0001)
    answer = client.send("/v1/upscale?name=a.png", picture(height=10, width=11))
    assert answer.status == 413
    assert answer.error == "a.png: 11 x 10 is more than the limit of 0.0001 megapixels here"


def test_a_stalled_upload_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bgai.web.guard, "_IDLE_SECONDS", 0.2)
    client = serve()
    with socket.create_connection(("127.0.0.1", client.port), timeout=300) as connection:
        head = "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 5000\r\n\r\n"
        connection.sendall(head.encode() + picture()[:20])
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 408")
    assert not list(client.service.settings.folder.iterdir())


def test_a_small_file_of_a_huge_picture_is_refused(serve: Serve) -> None:
    client = serve()
    bomb = encoded(np.zeros((9000, 9000), np.uint8), ".png")
    assert len(bomb) < 200_000
    answer = client.send("/v1/upscale?name=bomb.png", bomb)
    assert (answer.status, answer.error) == (413, "bomb.png: 9000 x 9000 is more than the limit of 50 megapixels here")
    assert not list(client.service.settings.folder.iterdir())


def test_a_full_queue_says_when_to_ask_again(serve: Serve, held: threading.Event) -> None:
    client = serve(queue=1)
    running = client.add(picture())
    assert eventually(lambda: client.get(f"/v1/jobs/{running['id']}").json["state"] == "running")
    client.add(picture())
    refused = client.send("/v1/jobs", picture())
    assert refused.status == 503
    assert refused.error == "the queue of 1 is full; ask again later"
    assert int(refused.headers["retry-after"]) > 0


def test_too_many_requests_are_refused(serve: Serve) -> None:
    client = serve(rate=2)
    statuses = [client.send("/v1/jobs", b"") for _ in range(3)]
    assert [answer.status for answer in statuses] == [422, 422, 429]
    assert 25 <= int(statuses[-1].headers["retry-after"]) <= 30
    assert client.get("/v1/info").status == 200


def test_the_rate_recovers_with_time() -> None:
    limit = RateLimit(60)
    assert [limit.take("a", 0) for _ in range(61)] == [0] * 60 + [1]
    assert limit.take("b", 0) == 0
    assert limit.take("a", 1.0) == 0
    assert limit.take("a", 1.0) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": "0.0.0.0"}, "host 0.0.0.0: other machines can reach it; a token is needed"),
        ({"token": "short"}, "the token: expected at least 16 printable ASCII characters"),
        ({"queue": 0}, "queue 0: expected a number above 0"),
        ({"port": 70000}, "port 70000: expected 0 to 65535"),
    ],
)
def test_settings_out_of_range_are_refused(settings: ServiceSettings, changes: dict[str, object], message: str) -> None:
    from dataclasses import replace

    with pytest.raises(UsageError, match=message):
        replace(settings, **changes)  # type: ignore[arg-type]
