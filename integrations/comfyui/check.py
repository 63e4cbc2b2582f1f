"""Try this folder in a real ComfyUI, headless on the CPU: `python integrations/comfyui/check.py FOLDER_OF_COMFYUI`.

Run it with a Python that has ComfyUI's requirements and `bgai[spandrel]`. It starts ComfyUI with a base folder of its
own, on a free port of this machine, and prints one line for each thing that it tried. The exit status is 1 if one
failed.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import bgai
from bgai.weights.pth_export import write_pth
from bgai.weights.reading import read_weights

HERE = Path(__file__).resolve().parent
START_SECONDS, RUN_SECONDS = 600, 900


class ComfyUI:
    """A running ComfyUI."""

    def __init__(self, address: str, base: Path) -> None:
        self.address, self.base = address, base

    def ask(self, path: str, content: Any = None) -> Any:
        """Send JSON, or ask for it."""
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.address + path, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def start(self, nodes: dict[str, Any]) -> str:
        """Queue a workflow; its id."""
        return str(self.ask("/prompt", {"prompt": nodes})["prompt_id"])

    def result(self, prompt: str) -> dict[str, Any]:
        """Wait for the end of a workflow, and return its entry in the history."""
        for _ in range(RUN_SECONDS * 2):
            entry: dict[str, Any] | None = self.ask(f"/history/{prompt}").get(prompt)
            if entry:
                return entry
            time.sleep(0.5)
        raise TimeoutError(f"no result after {RUN_SECONDS} seconds")

    def pictures(self, nodes: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Run a workflow; the pictures that it saved, by the start of their names."""
        entry = self.result(self.start(nodes))
        if entry["status"]["status_str"] != "success":
            raise RuntimeError(json.dumps(entry["status"])[:2000])
        saved = [image for output in entry["outputs"].values() for image in output.get("images", [])]
        return {image["filename"].split("_0")[0]: read(self.base / "output" / image["filename"]) for image in saved}


def read(file: Path) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(file).convert("RGB"))


def prepare(base: Path) -> None:
    """The base folder: this folder as a custom node, weights as ours and as the authors', and two pictures."""
    for folder in ("custom_nodes", "models/upscale_models", "input", "output", "user", "temp"):
        (base / folder).mkdir(parents=True)
    (base / "custom_nodes/bgai").symlink_to(HERE)
    models = base / "models/upscale_models"
    shipped = bgai.find_weights("photo", 2).file
    shutil.copy(shipped, models / "photo_x2.safetensors")
    write_pth(read_weights(shipped)[1], models / "photo_x2.pth")
    (models / "damaged.pth").write_bytes((models / "photo_x2.pth").read_bytes()[:5000])
    (models / "gone.pth").symlink_to(base / "gone.pth")
    cat = Image.open(HERE.parents[1] / "examples/cat.jpg")
    cat.crop((100, 40, 260, 160)).save(base / "input/picture.png")
    cat.resize((1800, 1200)).save(base / "input/large.png")


@contextmanager
def running(comfyui: Path, base: Path) -> Iterator[ComfyUI]:
    """ComfyUI as a process of its own, ended with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "main.py", "--cpu", "--port", str(port), "--base-directory", str(base)]
    command += ["--disable-auto-launch", "--database-url", "sqlite:///:memory:"]
    with (base / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=comfyui, stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ))
    try:
        server = ComfyUI(f"http://127.0.0.1:{port}", base)
        for _ in range(START_SECONDS):
            if process.poll() is not None:
                raise RuntimeError("ComfyUI ended:\n" + (base / "log.txt").read_text(errors="replace")[-3000:])
            try:
                server.ask("/system_stats")
                break
            except (urllib.error.URLError, OSError):
                time.sleep(1)
        else:
            raise TimeoutError(f"ComfyUI does not answer after {START_SECONDS} seconds")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def network_result(picture: Path) -> np.ndarray[Any, Any]:
    """What the network itself makes of a picture, in 8 bits."""
    network = bgai.load_network(bgai.find_weights("photo", 2).file)
    lq = torch.from_numpy(read(picture).copy()).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        enlarged = network(lq)[0].clamp(0, 1) * 255
    return rounded_down(enlarged.permute(1, 2, 0).numpy())


def upscaler_result(picture: Path) -> np.ndarray[Any, Any]:
    """What an `Upscaler` makes of a picture, in 8 bits."""
    lq = np.divide(read(picture), 255, dtype=np.float32)
    return rounded_down(bgai.Upscaler(2, "photo", "openvino").upscale(lq) * 255)


def rounded_down(levels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Levels of 255 as ComfyUI saves them."""
    return levels.astype(np.uint8)


def compare(result: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> str:
    """The share of samples that differ: in few, and by one level of 255, or there is an error."""
    if result.shape != expected.shape:
        raise ValueError(f"{result.shape} instead of {expected.shape}")
    differences = np.abs(result.astype(int) - expected)
    share = (differences > 0).mean()
    if differences.max() > 1 or share > 0.001:
        raise ValueError(f"{share:.4%} of samples differ, by up to {differences.max()} of 255 levels")
    return f"{share:.4%} of samples differ, by 1 of 255 levels at most" if share else "equal"


def check_node_is_there(server: ComfyUI) -> str:
    fields = server.ask("/object_info/BgaiUpscale")["BgaiUpscale"]["input"]
    return f"{len(fields['required']) + len(fields['optional'])} fields"


def check_workflow(server: ComfyUI) -> str:
    nodes = json.loads((HERE / "workflow.json").read_text())
    pictures = server.pictures(nodes)
    picture = server.base / "input/picture.png"
    node = compare(pictures["node"], upscaler_result(picture))
    built_in = compare(pictures["built_in"], network_result(picture))
    return f"node and Upscaler: {node}; built-in nodes and network: {built_in}"


def check_authors_layout(server: ComfyUI) -> str:
    nodes = json.loads((HERE / "workflow.json").read_text())
    nodes = {key: nodes[key] for key in ("1", "4", "5", "6")}
    nodes["4"]["inputs"]["model_name"] = "photo_x2.pth"
    return compare(server.pictures(nodes)["built_in"], network_result(server.base / "input/picture.png"))


def large(scale: int) -> dict[str, Any]:
    """A workflow that takes many seconds, in many tiles."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": "large.png"}},
        "2": {
            "class_type": "BgaiUpscale",
            "inputs": {"image": ["1", 0], "weights": "bgai", "scale": scale, "engine": "openvino", "tile": 192},
        },
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "large"}},
    }


def check_interruption(server: ComfyUI) -> str:
    """Stop a workflow once its node has reported progress, by the interface that the button uses."""
    import asyncio

    import aiohttp  # of ComfyUI's requirements

    async def stop_at_progress() -> tuple[str, int]:
        address = server.address.replace("http", "ws") + "/ws?clientId=check"
        async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
            queued = await session.post(server.address + "/prompt", json={"prompt": large(4), "client_id": "check"})
            prompt = (await queued.json())["prompt_id"]
            reports = 0
            async for message in socket:
                if message.type != aiohttp.WSMsgType.TEXT:
                    continue
                event = json.loads(message.data)
                if event["type"] == "progress":
                    reports += 1
                    if reports == 3:
                        await session.post(server.address + "/interrupt", json={})
                if event["type"] in ("execution_interrupted", "execution_error", "execution_success"):
                    return f"{event['type']} {prompt}", reports
        return "nothing", reports

    async def with_limit() -> tuple[str, int]:
        return await asyncio.wait_for(stop_at_progress(), RUN_SECONDS)

    began = time.monotonic()
    end, reports = asyncio.run(with_limit())
    if not end.startswith("execution_interrupted"):
        raise ValueError(end)
    return f"stopped after {reports} reports of progress, {time.monotonic() - began:.1f} s after the start"


def check_tile(server: ComfyUI) -> str:
    return error(server, "tile 17: expected a multiple of 16", tile=17)


def check_missing_weights(server: ComfyUI) -> str:
    return error(server, "'gone.pth' not found", weights="gone.pth")


def check_damaged_weights(server: ComfyUI) -> str:
    return error(server, "damaged, or not a PyTorch checkpoint", weights="damaged.pth")


def error(server: ComfyUI, expected: str, **fields: Any) -> str:
    """What ComfyUI shows when the node has these fields; an error of another kind is ours."""
    nodes = json.loads((HERE / "workflow.json").read_text())
    nodes = {key: nodes[key] for key in ("1", "2", "3")}
    nodes["2"]["inputs"].update(fields)
    status = server.result(server.start(nodes))["status"]
    messages = [content["exception_message"] for kind, content in status["messages"] if kind == "execution_error"]
    if not messages or expected not in messages[0]:
        raise ValueError(messages or status)
    return str(messages[0]).strip().replace(f"{server.base}/", "")


CHECKS: dict[str, Callable[[ComfyUI], str]] = {
    "the node is listed": check_node_is_there,
    "workflow.json: the node and the built-in nodes, a .safetensors file": check_workflow,
    "built-in nodes, a .pth file in the authors' layout": check_authors_layout,
    "error: a tile that cannot be": check_tile,
    "error: a link to weights that are gone": check_missing_weights,
    "error: damaged weights": check_damaged_weights,
    "progress and interruption": check_interruption,
}


def main() -> int:
    comfyui = Path(sys.argv[1]).resolve()
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        prepare(base)
        with running(comfyui, base) as server:
            print(
                f"ComfyUI {server.ask('/system_stats')['system'].get('comfyui_version', '')}, bgai {bgai.__version__}"
            )
            for name, check in CHECKS.items():
                try:
                    print(f"ok      {name}: {check(server)}", flush=True)
                except Exception:
                    failures += 1
                    print(f"failed  {name}", flush=True)
                    traceback.print_exc()
        if failures:
            print((base / "log.txt").read_text(errors="replace")[-5000:])
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
