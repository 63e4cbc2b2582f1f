"""Folders and repositories of the Hugging Face Hub; the server is one on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from support import filled_network, golden_input

from bgai.errors import WeightsError
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.checkpoint import load_network, save_network
from bgai.weights.safetensors_file import read_metadata
from bgai.weights.sources import find_weights

pytest.importorskip("huggingface_hub")

from huggingface_hub import ModelCard

from bgai.integrations.hub import FILE, HubNetwork


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder of the package's weights for photographs."""
    HubNetwork.from_weights("photo", 2).save_pretrained(tmp_path / "x2", model_card_kwargs={"license": "mit"})
    return tmp_path / "x2"


def test_a_folder_gives_the_same_network(saved: Path) -> None:
    network = HubNetwork.from_pretrained(saved)
    expected = load_network(find_weights("photo", 2).file)
    assert not network.training
    assert network.config == expected.config
    with torch.inference_mode():
        assert torch.equal(network(golden_input("ragged")), expected(golden_input("ragged")))


def test_its_file_is_one_of_ours(saved: Path) -> None:
    shipped = find_weights("photo", 2)
    assert read_metadata(saved / FILE) == {**read_metadata(shipped.file), "halo": str(shipped.halo)}
    upscaler = Upscaler(weights=saved / FILE)
    assert (upscaler.scale, upscaler.halo) == (2, shipped.halo)
    assert json.loads((saved / "config.json").read_text())["channels"] == 52


def test_a_second_generation_is_the_first(saved: Path, tmp_path: Path) -> None:
    HubNetwork.from_pretrained(saved).save_pretrained(tmp_path / "again", model_card_kwargs={"license": "mit"})
    for name in ("config.json", "README.md"):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()
    assert read_metadata(tmp_path / "again" / FILE) == read_metadata(saved / FILE)


def test_the_card_says_what_the_file_does(saved: Path) -> None:
    card = ModelCard.load(saved / "README.md")
    assert card.data.license == "mit"
    assert card.data.library_name == "bgai"
    assert card.data.pipeline_tag == "image-to-image"
    scores = json.loads(read_metadata(saved / FILE)["scores"])
    found = {(result.dataset_name, result.metric_type): result.metric_value for result in card.data.eval_results}
    assert found == {(name, metric): value for name, means in scores.items() for metric, value in means.items()}
    assert "photographs with noise" in card.text
    assert f"| Set5 | {scores['Set5']['psnr']} |" in card.text


def test_weights_that_say_nothing_have_a_card_too(tmp_path: Path) -> None:
    save_network(filled_network(3), tmp_path / "mine.safetensors")
    HubNetwork.from_weights(tmp_path / "mine.safetensors").save_pretrained(tmp_path / "x3")
    card = ModelCard.load(tmp_path / "x3/README.md")
    assert card.data.license is None
    assert card.data.eval_results is None
    assert "# BGAI ×3" in card.text


def test_a_damaged_file_is_refused(saved: Path) -> None:
    (saved / FILE).write_bytes((saved / FILE).read_bytes()[:1000])
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        HubNetwork.from_pretrained(saved)


class HubHandler(BaseHTTPRequestHandler):
    """The requests of a push of small files and of a download, as the Hub answers them."""

    files: dict[str, bytes]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self.answer({"url": f"http://{self.headers['Host']}/someone/x2", "id": "someone/x2"})
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            self.answer({"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer({"commitUrl": f"http://{self.headers['Host']}/someone/x2/commit/1", "commitOid": "1" * 40})
        else:  # checks of the card
            self.answer({"errors": [], "warnings": []})

    def do_GET(self) -> None:
        prefix, _, name = self.path.partition("/someone/x2/resolve/main/")
        if not prefix and name in self.files:
            content = self.files[name]
            tag = f'"{hashlib.sha1(content).hexdigest()}"'
            self.respond(content, {"ETag": tag, "X-Repo-Commit": "1" * 40})
        else:
            self.answer({"error": "no such file"}, 404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, content: object, status: int = 200) -> None:
        self.respond(json.dumps(content).encode(), {"Content-Type": "application/json"}, status)

    def respond(self, content: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def hub(files: dict[str, bytes]) -> Iterator[str]:
    """The address of a server that keeps what is pushed in `files`."""
    handler = type("Handler", (HubHandler,), {"files": files})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


PUSH = """
from bgai.integrations.hub import HubNetwork
HubNetwork.from_weights("bgai", 2).push_to_hub("someone/x2")
network = HubNetwork.from_pretrained("someone/x2")
print(network.config.scale, network.metadata["halo"])
"""


def test_a_push_and_a_download(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    with hub(files) as address:
        settings = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_TOKEN": "hf_x", "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(
            [sys.executable, "-c", PUSH],
            env={**os.environ, **settings, "HF_HUB_DISABLE_TELEMETRY": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "48"]
    assert {"README.md", "config.json", FILE} <= files.keys()
