"""Start-up, throughput, memory and answers of `bgai serve` under load, beside `bgai upscale` on a folder.

python benchmarks/service.py --pictures 50 --clients 50
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import psutil

from bgai.pictures.writing import encode_png

_PORT = 8799
_COMMAND = [sys.executable, "-m", "bgai"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--side", type=int, default=64, help="of each picture, in pixels")
    parser.add_argument("--clients", type=int, default=50, help="that ask at once")
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    shape = (arguments.side, arguments.side, 3)
    pictures = [encode_png(random.integers(0, 256, shape, dtype=np.uint8)) for _ in range(arguments.pictures)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "pictures"
        folder.mkdir()
        for number, picture in enumerate(pictures):
            (folder / f"{number}.png").write_bytes(picture)
        for _ in range(2):  # the first compiles the graph
            start = time.perf_counter()
            subprocess.run([*_COMMAND, "upscale", str(folder), "--overwrite"], check=True, capture_output=True)
        speed = len(pictures) / (time.perf_counter() - start)
        print(f"bgai upscale FOLDER: {speed:.1f} pictures a second, start included")
        with _served(Path(scratch)) as process:
            _measure(pictures, arguments.clients, process)


def _measure(pictures: list[bytes], clients: int, process: psutil.Process) -> None:
    _upscale(pictures[0])
    start = time.perf_counter()
    for picture in pictures:
        _upscale(picture)
    print(f"one client: {len(pictures) / (time.perf_counter() - start):.1f} pictures a second")
    waits: list[float] = []
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(waits, stop))
    watcher.start()
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        sizes = list(pool.map(_upscale, pictures * 2))
    seconds = time.perf_counter() - start
    stop.set()
    watcher.join()
    print(f"{clients} clients at once: {len(sizes) / seconds:.1f} pictures a second, none lost")
    print(f"/healthz meanwhile: median {statistics.median(waits) * 1e3:.0f} ms, slowest {max(waits) * 1e3:.0f} ms")
    print(f"memory of the service: {process.memory_info().rss / 2**20:.0f} MiB")


@contextmanager
def _served(scratch: Path) -> Iterator[psutil.Process]:
    start = time.perf_counter()
    command = [*_COMMAND, "serve", "--no-browser", "--port", str(_PORT), "--folder", str(scratch / "jobs")]
    process = subprocess.Popen([*command, "--rate", "100000"], stdout=subprocess.DEVNULL)
    try:
        while not _is_up():
            time.sleep(0.02)
        print(f"bgai serve: up after {time.perf_counter() - start:.2f} s")
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _is_up() -> bool:
    try:
        _ask("GET", "/healthz")
    except OSError:
        return False
    return True


def _upscale(picture: bytes) -> int:
    return len(_ask("POST", "/v1/upscale", picture))


def _ask(method: str, path: str, body: bytes | None = None) -> bytes:
    connection = HTTPConnection("127.0.0.1", _PORT, timeout=600)
    try:
        connection.request(method, path, body, {"content-type": "image/png"} if body else {})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {content.decode()}")
        return content
    finally:
        connection.close()


def _watch(waits: list[float], stop: threading.Event) -> None:
    while not stop.wait(0.05):
        start = time.perf_counter()
        _ask("GET", "/healthz")
        waits.append(time.perf_counter() - start)


if __name__ == "__main__":
    main()
