"""The process of `bgai serve`."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest
from web_support import Serve, eventually, picture, served

from bgai.errors import UsageError
from bgai.web.server import bind, page_address
from bgai.web.settings import ServiceSettings


def test_a_signal_ends_it_though_a_page_is_open(tmp_path: Path) -> None:
    with served("--folder", str(tmp_path)) as (process, line):
        address, _, hint = line.partition("  ")
        assert hint == "(Ctrl-C ends it)\n"
        port = int(address.split(":")[2].rstrip("/"))
        connection = HTTPConnection("127.0.0.1", port, timeout=300)
        connection.request("GET", "/v1/events?client=page")
        events = connection.getresponse()
        process.send_signal(signal.SIGTERM)
        assert events.read() == b""
        assert process.wait(300) == 0
        assert process.stderr
        assert process.stderr.read() == ""
        connection.close()
        assert [folder.name for folder in tmp_path.iterdir()] == [str(port)]


def test_logs_are_json_without_names(tmp_path: Path) -> None:
    with served("--folder", str(tmp_path), "--json-log") as (process, line):
        port = int(line.split("  ")[0].split(":")[2].rstrip("/"))
        connection = HTTPConnection("127.0.0.1", port, timeout=300)
        connection.request(
            "POST", "/v1/upscale?name=secret.png&client=label&scale=2", picture(), {"content-type": "image/png"}
        )
        assert connection.getresponse().read()
        connection.request("GET", f"/v1/jobs/{'0' * 32}/result?client=label")
        assert connection.getresponse().read()
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        text = process.stderr.read()
        assert process.wait(300) == 0
    assert not re.search("secret|label|0{32}", text)
    lines = [json.loads(line) for line in text.splitlines()]
    job, upscaled, missing = sorted(lines, key=lambda line: (line["message"], line.get("path") == "/v1/jobs/ID/result"))
    assert (job["message"], job["state"], job["width"], job["status"]) == ("job", "done", 12, 200)
    assert (upscaled["method"], upscaled["path"], upscaled["status"]) == ("POST", "/v1/upscale", 200)
    assert upscaled["bytes"] == job["result_bytes"]
    assert (missing["path"], missing["status"]) == ("/v1/jobs/ID/result", 404)
    assert all(line["level"] == "info" and line["time"].endswith("+00:00") for line in lines)


def test_other_addresses_get_a_token_that_is_printed(tmp_path: Path) -> None:
    with served("--folder", str(tmp_path), "--host", "0.0.0.0") as (_, line):
        address, token = line.split("  ")[0].split("#token=")
        assert address.startswith("http://127.0.0.1:")
        assert len(token) == 32


def test_an_address_that_is_taken_is_one_line() -> None:
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}: cannot be served: .*; choose another port"):
            bind("127.0.0.1", port)


def test_the_address_has_the_token_in_its_fragment(tmp_path: Path) -> None:
    with bind("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        settings = ServiceSettings(tmp_path, host="0.0.0.0", token="sixteen letters!")
        assert page_address(settings, bound) == f"http://127.0.0.1:{port}/#token=sixteen letters!"
        assert page_address(ServiceSettings(tmp_path, host="::1"), bound) == f"http://[::1]:{port}/"


def test_streams_of_clients_that_went_away_end(serve: Serve) -> None:
    client = serve()
    loop = client.service._loop
    assert loop

    def tasks() -> int:
        return len(asyncio.all_tasks(loop))

    before = tasks()
    connections = [client.connect() for _ in range(5)]
    for connection in connections:
        connection.request("GET", "/v1/events?client=page")
        connection.getresponse()
    assert tasks() >= before + 5
    for connection in connections:
        assert connection.sock is None or connection.sock.close() is None
        connection.close()
    assert eventually(lambda: tasks() <= before)


def test_what_is_missing_is_named() -> None:
    code = """
import sys
sys.modules["starlette"] = None
from bgai.cli.app import app
app(["serve"])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "bgai: bgai serve needs the extra 'web': install it with  pip install 'bgai[web]'\n"
