"""A real browser for tests of the page; they are skipped where there is none."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")
from playwright.sync_api import Browser, Page, Request, sync_playwright

__all__ = ["CHROMIUM", "Browser", "Page", "Request", "drop", "entry", "page_memory", "peak_memory", "running_browser"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)


@contextmanager
def running_browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium-headless-shell")
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


def drop(page: Page, **files: bytes) -> None:
    """Drop files on the page; the names' last underscore stands for a dot."""
    page.evaluate(
        """files => {
          const transfer = new DataTransfer();
          for (const [name, content] of Object.entries(files)) {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], name.replace(/_(?=[^_]*$)/, ".")));
          }
          document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        {name: base64.b64encode(content).decode() for name, content in files.items()},
    )


def entry(page: Page, name: str, state: str) -> str:
    """The selector of a picture in the list, once it is in a state."""
    selector = f'.item[data-state={state}]:has(h3:text-is("{name}"))'
    page.wait_for_selector(selector)
    return selector


def page_memory() -> int:
    """The most bytes that any page took of the browsers that this process started."""
    processes = psutil.Process().children(recursive=True)
    return max(peak_memory(process) for process in processes if "--type=renderer" in process.cmdline())


def peak_memory(process: psutil.Process) -> int:
    """Bytes, on Linux; elsewhere those at present."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return int(process.memory_info().rss)
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
    return int(peak) * 1024
