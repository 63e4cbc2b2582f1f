"""The page in a real browser; skipped where there is none."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import psutil
import pytest
from browser_support import Browser, Page, Request, drop, entry, page_memory, peak_memory
from support import texture
from web_support import Client, Serve, encoded, eventually, picture, running, served

from bgai.upscaling.memory_plan import default_memory
from bgai.web.routes import PAGE
from bgai.web.settings import ServiceSettings

_MOST_BYTES = 200_000
_MOST_WAIT = 300_000  # milliseconds


@pytest.fixture
def page(browser: Browser, client: Client) -> Iterator[Page]:
    """The page of the service, new to it; requests elsewhere and errors of scripts fail the test."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1200, "height": 800}, accept_downloads=True)
    page = context.new_page()
    wrong: list[str] = []

    def watch(request: Request) -> None:
        if not request.url.startswith((f"{client.url}/", f"blob:{client.url}/")):
            wrong.append(request.url)

    page.on("request", watch)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.set_default_timeout(_MOST_WAIT)
    page.goto(client.url)
    page.wait_for_selector("#main:not([hidden])")
    yield page
    context.close()
    assert not wrong


def by_command(folder: Path, name: str, content: bytes) -> bytes:
    (folder / name).write_bytes(content)
    command = [sys.executable, "-m", "bgai", "upscale", str(folder / name), "-o", str(folder / "out"), "--scale", "2"]
    subprocess.run(command, check=True, capture_output=True)
    (result,) = (folder / "out").iterdir()
    return result.read_bytes()


def test_pictures_from_the_drop_to_the_saved_result(page: Page, tmp_path: Path) -> None:
    good = picture(".jpg", quality=60)
    page.check("input[name=scale][value='2']", force=True)
    drop(page, good_jpg=good, broken_png=picture()[:40])
    failed = entry(page, "broken.png", "failed")
    assert page.inner_text(f"{failed} .state").startswith("broken.png: damaged")
    done = entry(page, "good.jpg", "done")
    assert page.inner_text(f"{done} .state") == "photo weights: JPEG of quality about 60"
    assert "12 × 10" in page.inner_text(f"{done} .sizes")
    assert "24 × 20" in page.inner_text(f"{done} .sizes")
    assert page.inner_text("#count") == "1 of 2 done"
    with page.expect_download() as download:
        page.click(f"{done} .save")
    assert download.value.suggested_filename == "good_x2.jpg"
    assert Path(download.value.path()).read_bytes() == by_command(tmp_path, "good.jpg", good)


def test_the_slider_moves_by_keyboard_at_any_zoom(page: Page) -> None:
    drop(page, small_png=picture())
    page.click(f"{entry(page, 'small.png', 'done')} .compare")
    page.wait_for_selector("#loading", state="hidden")
    handle = page.locator("#handle")
    assert handle.get_attribute("aria-valuenow") == "50"
    for key, value in (("ArrowRight", "52"), ("PageDown", "42"), ("End", "100"), ("Home", "0")):
        page.keyboard.press(key)
        assert handle.get_attribute("aria-valuenow") == value
    assert handle.get_attribute("aria-valuetext") == "bicubic up to 0% of the width"
    for key, zoom in (("1", "100%"), ("4", "400%"), ("+", "500%"), ("0", "100%")):
        page.keyboard.press(key)
        assert page.inner_text("#zoom-value") == zoom
    places = page.evaluate(
        "['before', 'after'].map((id) => document.getElementById(id).getBoundingClientRect().toJSON())"
    )
    assert places[0] == places[1]
    assert (places[0]["width"], places[0]["height"]) == (48, 40)
    sizes = page.evaluate("['before', 'after'].map((id) => document.getElementById(id).naturalWidth)")
    assert sizes == [48, 48]
    page.keyboard.press("l")
    assert page.get_attribute("#loupe-button", "aria-pressed") == "true"
    middle = page.evaluate(
        "[...document.querySelectorAll('#loupe canvas')].map("
        "(canvas) => [...canvas.getContext('2d').getImageData(96, 96, 1, 1).data])"
    )
    assert [pixel[3] for pixel in middle] == [255, 255]  # both pictures are in it
    page.click("#loupe-button")
    assert not page.is_visible("#loupe")
    page.keyboard.press("Escape")
    assert not page.is_visible("#compare")


def test_the_queue_survives_a_reload(page: Page, client: Client) -> None:
    drop(page, one_png=picture(height=96, width=96), two_png=picture())
    page.wait_for_selector(".item:not([data-state=unsent]) >> nth=1")
    page.route("**/v1/jobs?*", lambda route: route.abort())
    drop(page, three_png=picture())
    page.wait_for_selector("#offline:not([hidden])")  # the third picture could not be sent
    page.unroute("**/v1/jobs?*")
    page.reload()
    for name in ("one.png", "two.png", "three.png"):
        entry(page, name, "done")
    assert page.locator(".item").count() == 3
    with page.expect_download() as download:
        page.click("#zip")
    assert download.value.suggested_filename == "enlarged.zip"
    page.click("#clear")
    page.wait_for_selector("body.empty")
    assert eventually(lambda: all(job.name not in ("one.png", "two.png") for job in client.service.jobs.values()))


def test_a_picture_can_be_stopped(page: Page, client: Client) -> None:
    drop(page, long_png=picture(height=160, width=160))
    page.wait_for_selector(".item[data-state=queued], .item[data-state=running]")
    page.click(".item .remove")
    page.wait_for_selector("body.empty")
    assert eventually(lambda: all(job.name != "long.png" for job in client.service.jobs.values()))


def test_large_results_are_shown_in_parts_that_cover_them(page: Page) -> None:
    parts = page.evaluate("import('/compare.js').then(({ parts }) => parts(24_001, 16_000, 36_000_000))")
    assert sum(part["width"] * part["height"] for part in parts) == 24_001 * 16_000
    assert max(part["width"] * part["height"] for part in parts) <= 36_000_000
    assert {(part["left"] + part["width"], part["top"] + part["height"]) for part in parts} >= {(24_001, 16_000)}
    whole = page.evaluate("import('/compare.js').then(({ parts }) => parts(6000, 6000, 36_000_000))")
    assert whole == [{"left": 0, "top": 0, "width": 6000, "height": 6000}]


def test_the_page_waits_for_a_service_that_is_away(browser: Browser, serve: Serve) -> None:
    client = serve()
    page = browser.new_page(locale="en-GB")
    page.set_default_timeout(_MOST_WAIT)
    page.goto(client.url)
    page.wait_for_selector("#main:not([hidden])")
    page.context.set_offline(True)
    drop(page, later_png=picture())
    page.wait_for_selector("#offline:not([hidden])")
    page.context.set_offline(False)
    page.wait_for_selector(".item[data-state=done]")
    assert not page.is_visible("#offline")
    page.close()


def test_the_page_forgets_what_the_service_forgot(browser: Browser, settings: ServiceSettings) -> None:
    page = browser.new_page()
    page.set_default_timeout(_MOST_WAIT)
    with running(settings) as first:
        page.goto(first.url)
        page.wait_for_selector("#main:not([hidden])")
        drop(page, old_png=picture())
        entry(page, "old.png", "done")
    page.wait_for_selector("#offline:not([hidden])")
    with running(replace(settings, port=first.port, folder=settings.folder / "new")):
        page.wait_for_selector("body.empty")
        assert not page.is_visible("#offline")
    page.close()


def test_choices_and_language_are_remembered(page: Page) -> None:
    page.check("input[name=scale][value='3']", force=True)
    page.select_option("select[name=weights]", "between")
    page.select_option("select[name=format]", "png")
    assert page.is_visible("input[name=clean]")
    assert not page.is_visible("input[name=quality]")
    page.select_option("#language", "de")
    assert page.inner_text("#drop h2") == "Bilder oder Ordner hier ablegen"
    page.reload()
    page.wait_for_selector("#main:not([hidden])")
    assert page.is_checked("input[name=scale][value='3']")
    assert page.input_value("select[name=weights]") == "between"
    assert page.inner_text("#choose") == "Bilder wählen"
    assert page.get_attribute("html", "lang") == "de"


def test_a_size_of_ones_own(page: Page) -> None:
    page.check("input[name=scale][value=size]", force=True)
    page.fill("input[name=width]", "30")
    drop(page, wide_png=picture())
    assert "30 × 25" in page.inner_text(f"{entry(page, 'wide.png', 'done')} .sizes")
    page.check("input[name=scale][value=factor]", force=True)
    page.fill("input[name=factor]", "1.5")
    drop(page, half_png=picture())
    assert "18 × 15" in page.inner_text(f"{entry(page, 'half.png', 'done')} .sizes")
    page.fill("input[name=factor]", "99")
    drop(page, never_png=picture())  # the field says what it expects
    assert page.evaluate("document.activeElement.name") == "factor"
    assert page.locator(".item").count() == 2


def test_finished_rows_are_shown_before_the_rest(page: Page, client: Client) -> None:
    """With a job of which the service tells that half of it is done."""
    job = client.finished(client.add(picture(), "scale=2&client=other")["id"])
    half = job | {"state": "running", "progress": 0.5, "rows_done": 10}
    rows = encoded(np.full((10, 24, 3), 90, np.uint8), ".png")
    page.route("**/preview?*", lambda route: route.fulfill(body=rows, content_type="image/png"))
    page.evaluate(
        """async (job) => {
          const { Compare } = await import("/compare.js");
          const compare = new Compare(document.querySelector("#compare"));
          compare.open(job, 36e6);
          window.finish = (done) => compare.update(done);
        }""",
        half,
    )
    height = "document.querySelector('#after').naturalHeight"
    assert eventually(lambda: page.evaluate(height) == 10)
    assert page.inner_text("#compare-state") == "50% done; the rest follows"
    assert not page.is_visible("#compare-save")
    page.evaluate("(job) => finish(job)", job)
    assert eventually(lambda: page.evaluate(height) == 20)
    assert page.inner_text("#compare-state") == ""
    assert page.is_visible("#compare-save")


def test_parts_of_large_results_show_their_finished_rows(page: Page, client: Client) -> None:
    """15 rows of 24 x 20 pixels, in four parts of 12 x 10."""
    job = client.finished(client.add(picture(), "scale=2&client=other")["id"])
    pixels = texture(15, 24)
    page.route("**/preview?*", lambda route: route.fulfill(body=encoded(pixels, ".png"), content_type="image/png"))
    page.evaluate(
        """async (job) => {
          const { Compare } = await import("/compare.js");
          const compare = new Compare(document.querySelector("#compare"));
          compare.open(job, 200);
          window.showPart = (part) => {
            compare.part.value = part; // without a word to the page's own comparison
            return compare.load();
          };
        }""",
        job | {"state": "running", "progress": 0.75, "rows_done": 15},
    )
    assert page.input_value("#part") == "0"
    for part, top, left, rows in ((0, 0, 0, 10), (3, 10, 12, 5)):
        page.evaluate("(part) => showPart(part)", part)
        assert page.evaluate("document.querySelector('#after').naturalHeight") == rows
        shown = page.evaluate(
            """async () => {
              const canvas = new OffscreenCanvas(12, 10);
              canvas.getContext("2d").drawImage(document.querySelector("#after"), 0, 0);
              return [...canvas.getContext("2d").getImageData(0, 0, 12, 10).data];
            }"""
        )
        given = np.array(shown, np.uint8).reshape(10, 12, 4)[:rows, :, :3]
        assert np.array_equal(given, pixels[top : top + rows, left : left + 12])


def test_a_browser_opens_the_page_with_the_token(browser: Browser, serve: Serve) -> None:
    client = serve(token="a token of 24 characters")
    page = browser.new_page()
    page.set_default_timeout(_MOST_WAIT)
    page.goto(client.url)
    page.fill("#token", "wrong")
    page.click("#session button")
    page.wait_for_selector("#token-error:text('that is not the token of this service')")
    page.fill("#token", "a token of 24 characters")
    page.click("#session button")
    page.wait_for_selector("#main:not([hidden])")
    page.context.clear_cookies()
    page.goto(f"{client.url}/#token=a token of 24 characters")
    page.reload()
    page.wait_for_selector("#main:not([hidden])")
    assert page.url == f"{client.url}/"
    page.close()


@pytest.mark.slow
def test_a_picture_of_24_megapixels(browser: Browser, tmp_path: Path) -> None:
    """From the drop to the first rows, with a service in a process of its own."""
    content = encoded(np.tile(texture(400, 600), (10, 10, 1)), ".jpg", quality=80)
    with served("--folder", str(tmp_path)) as (process, line):
        address = line.split("  ")[0].rstrip("/")
        page = browser.new_page(locale="en-GB", viewport={"width": 1200, "height": 800})
        page.set_default_timeout(3 * _MOST_WAIT)
        page.goto(address)
        page.wait_for_selector("#main:not([hidden])")
        page.check("input[name=scale][value='2']", force=True)
        drop(page, large_jpg=content)
        running = entry(page, "large.jpg", "running")
        assert "6000 × 4000" in page.inner_text(f"{running} .sizes")
        assert "12000 × 8000" in page.inner_text(f"{running} .sizes")
        page.click(f"{running} .compare")  # once the first rows are done
        assert eventually(lambda: page.evaluate("document.querySelector('#after').naturalHeight"))
        assert "% done" in page.inner_text("#compare-state")
        waits = [seconds_for(f"{address}/healthz") for _ in range(50)]
        page.keyboard.press("Escape")
        service = peak_memory(psutil.Process(process.pid))
        print(f"/healthz: median {np.median(waits) * 1e3:.0f} ms, slowest {max(waits) * 1e3:.0f} ms")
        print(f"memory: page {page_memory() / 2**20:.0f} MiB, service {service / 2**20:.0f} MiB")
        assert np.median(waits) < 1  # the time of a tile is more
        assert service < default_memory()
        assert page_memory() < 2**30
        page.click(f"{running} .remove")
        page.wait_for_selector("body.empty")
        (jobs,) = tmp_path.iterdir()
        assert eventually(lambda: not list(jobs.iterdir()))
        page.close()


def seconds_for(address: str) -> float:
    start = time.perf_counter()
    with urlopen(address) as answer:
        assert answer.status == 200
    return time.perf_counter() - start


def test_the_page_is_small_and_whole() -> None:
    files = [path for path in PAGE.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < _MOST_BYTES
    texts = "".join(path.read_text(encoding="utf-8") for path in files if path.suffix in (".html", ".js", ".css"))
    assert not re.search(r"https?://|@import|\beval\(|innerHTML", texts)


def test_every_text_is_there_in_both_languages() -> None:
    table = (PAGE / "texts.js").read_text(encoding="utf-8").split("export const TEXTS = {")[1].split("\n};")[0]
    keys = re.findall(r"^  (\w+): \[", table, re.MULTILINE)
    pairs = re.findall(r'^  (\w+): \[\s*"((?:[^"\\]|\\.)*)",\s*"((?:[^"\\]|\\.)*)",?\s*\],$', table, re.MULTILINE)
    assert [key for key, *_ in pairs] == keys
    for key, english, german in pairs:
        assert sorted(re.findall(r"{\w+}", english)) == sorted(re.findall(r"{\w+}", german)), key
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    used = set(re.findall(r'data-t="(\w+)"', html))
    scripts = "".join(path.read_text(encoding="utf-8") for path in PAGE.glob("*.js") if path.name != "texts.js")
    used |= set(re.findall(r'\btext\(\s*"(\w+)"', scripts))
    assert used <= set(keys)
