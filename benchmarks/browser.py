"""Seconds to enlarge a picture of 256 x 256 four times: a static page in Chromium, and the package itself.

python benchmarks/browser.py FOLDER   # which `bgai serve --static FOLDER` wrote
"""

from __future__ import annotations

import argparse
import functools
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from bgai import Upscaler
from bgai.pictures.writing import encode_png


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if not (arguments.folder / "graphs.json").exists():
        parser.error(f"{arguments.folder}: no static page; write one with  bgai serve --static {arguments.folder}")
    shape = (arguments.side, arguments.side, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    upscaler = Upscaler(4)
    with ExitStack() as stack:
        address = stack.enter_context(_served(arguments.folder))
        tools = stack.enter_context(sync_playwright())
        browser = tools.chromium.launch(executable_path=shutil.which("chromium-headless-shell"))
        one, all_threads = (_opened(browser, address, threads) for threads in (False, True))
        content = list(encode_png(image))
        ways: dict[str, Callable[[], object]] = {
            "native": lambda: upscaler.upscale(image),
            "one thread": lambda: _enlarge(one, content),
            all_threads.inner_text("#engine").split(", ")[1].split(":")[0]: lambda: _enlarge(all_threads, content),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.rounds + 1):
            for name, run in ways.items():
                start = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - start)
        for name, (_, *rounds) in seconds.items():  # the first compiles
            print(f"{name}: median {statistics.median(rounds):.2f} s, {min(rounds):.2f} to {max(rounds):.2f}")


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    handler = functools.partial(_Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _opened(browser: Browser, address: str, threads: bool) -> Page:
    """The page; one that believes to have tried its service worker has one thread."""
    page = browser.new_context(locale="en").new_page()
    if not threads:
        page.add_init_script("sessionStorage.setItem('bgai.isolated', 'tried')")
    page.set_default_timeout(600_000)
    page.goto(address)
    page.wait_for_selector("#main:not([hidden])")
    page.select_option("select[name=weights]", "bgai")
    return page


def _enlarge(page: Page, content: list[int]) -> None:
    page.evaluate(
        """content => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(content)], "picture.png"));
          document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        content,
    )
    page.wait_for_selector(".item[data-state=done]")
    page.click("#clear")
    page.wait_for_selector("body.empty")


if __name__ == "__main__":
    main()
