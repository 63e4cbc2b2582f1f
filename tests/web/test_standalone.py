"""The page as static files: its scripts against the package's functions, and as a whole in a real browser."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_support import CHROMIUM, Browser, Page, Request, drop, entry, page_memory
from numpy.typing import NDArray
from onnx import helper
from PIL import Image
from support import save_graph, save_repeating_graph, served_folder, texture
from web_support import encoded, picture

from bgai.errors import UsageError
from bgai.pictures.compression import read_compression
from bgai.pictures.reading import read_picture
from bgai.upscaling.pixels import enlarge_pixels
from bgai.upscaling.reduction import reduce_strips
from bgai.upscaling.sizes import TargetSize, plan_enlargement
from bgai.upscaling.tiling import plan_tiles
from bgai.web.static_folder import RUNTIME, STANDALONE, write_static_page
from bgai.weights.sources import SHIPPED_NAMES, Weights, cache_folder, find_weights

_MOST_WAIT = 300_000  # milliseconds
# Before fixtures move the cache: the user's own, where `bgai serve --static` leaves what npm fetched.
RUNTIME_FILE = cache_folder() / RUNTIME


@pytest.fixture(scope="module")
def scripts(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """An empty page beside the scripts."""
    folder = tmp_path_factory.mktemp("scripts")
    for script in STANDALONE.iterdir():
        shutil.copyfile(script, folder / script.name)
    (folder / "index.html").write_text("<!doctype html><title>empty</title>")
    with served_folder(folder) as address:
        page = browser.new_page()
        page.goto(address)
        yield page
        page.close()


def bytes_of(pixels: NDArray[np.uint8]) -> list[int]:
    """RGBA, as canvases have it."""
    image = Image.fromarray(pixels).convert("RGBA")
    return list(image.tobytes())


@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (100, 75), (300, 451), (1080, 1920), (700, 4001), (4000, 6000), (1, 30000), (30000, 1)],
)
@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("channels", [3, 4])
def test_tiles_are_those_of_the_command(scripts: Page, height: int, width: int, scale: int, channels: int) -> None:
    room = 2**30 - 280 * 2**20
    size = height * width * channels
    room -= size if size <= 2**26 else 0
    pixel = 6600 + (channels == 4) * 80 * scale**2
    row = width * channels * (scale**2 + (size > 2**26))
    expected = plan_tiles(height, width, int(room / pixel), 48, row / pixel, 512 * 512)
    rows, columns = scripts.evaluate(
        """async ([height, width, transparent, scale]) => {
          const { planPicture } = await import("/tiling.js");
          const { rows, columns } = planPicture({ height, width, transparent }, scale, 48);
          const values = (span) => [span.start, span.stop, span.keepStart, span.keepStop];
          return [rows.map(values), columns.map(values)];
        }""",
        [height, width, channels == 4, scale],
    )
    for given, spans in zip((rows, columns), expected, strict=True):
        assert given == [[span.start, span.stop, span.keep_start, span.keep_stop] for span in spans]


def transparent(height: int, width: int) -> NDArray[np.uint8]:
    """With an opaque, a half-transparent and a clear part."""
    pixels = texture(height, width, 4)
    pixels[:, : width // 3, 3] = 255
    pixels[:, -width // 3 :, 3] = 0
    return pixels


@pytest.mark.parametrize(
    "pixels",
    [texture(20, 23), texture(5, 4), np.repeat(texture(12, 17, 1), 3, axis=2), transparent(17, 21)],
    ids=["colour", "small", "grey", "transparent"],
)
def test_pixels_are_made_by_the_rules_of_the_command(scripts: Page, pixels: NDArray[np.uint8]) -> None:
    """With a network that repeats pixels, too strongly, and mixes channels."""

    def network(tile: NDArray[np.float32]) -> NDArray[np.float32]:
        repeated = np.repeat(np.repeat(tile[0], 2, 1), 2, 2)
        mixed: NDArray[np.float32] = (1.5 * repeated - 0.3 * repeated[[1, 2, 0]]).astype(np.float32)
        return mixed

    expected = enlarge_pixels(pixels, network, 2)
    given = scripts.evaluate(
        """async ([data, height, width]) => {
          const { enlargeTile } = await import("/pixels.js");
          const network = async (planes) => {
            const area = height * width;
            const enlarged = new Float32Array(12 * area);
            for (let c = 0; c < 3; c++)
              for (let y = 0; y < 2 * height; y++)
                for (let x = 0; x < 2 * width; x++) {
                  const at = (y >> 1) * width + (x >> 1);
                  enlarged[4 * c * area + y * 2 * width + x] =
                    1.5 * planes[c * area + at] - 0.3 * planes[((c + 1) % 3) * area + at];
                }
            return enlarged;
          };
          const picture = { data: Uint8ClampedArray.from(data), width, height };
          return [...(await enlargeTile(picture, { top: 0, left: 0, height, width }, network, 2))];
        }""",
        [bytes_of(pixels), *pixels.shape[:2]],
    )
    result = np.array(given, np.uint8).reshape(*expected.shape[:2], 4)[..., : pixels.shape[2]]
    assert np.abs(result.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("target", [(47, 31), (90, 60), (30, 77)])
def test_reductions_are_those_of_the_command(scripts: Page, target: tuple[int, int]) -> None:
    pixels = transparent(90, 77)
    strips = (pixels[start : start + 13] for start in range(0, 90, 13))
    expected = np.concatenate(list(reduce_strips(strips, (90, 77), target)))
    given = scripts.evaluate(
        """async ([data, height, width]) => {
          const { Resampler } = await import("/resample.js");
          const resampler = new Resampler({ width: 77, height: 90 }, { width, height });
          const bytes = Uint8ClampedArray.from(data);
          const rows = [];
          for (let y = 0; y < 90; y += 17) rows.push(...resampler.push(bytes.subarray(308 * y, 308 * (y + 17))));
          const part = { left: 5, top: 20, width: 9, height: 8 };
          const cut = new Resampler({ width: 77, height: 90 }, { width, height }, part);
          return [rows, [...cut.push(bytes)]];
        }""",
        [bytes_of(pixels), *target],
    )
    whole = np.array(given[0], np.uint8).reshape(*target, 4)
    assert np.abs(whole.astype(int) - expected).max() <= 1
    assert np.array_equal(np.array(given[1], np.uint8).reshape(8, 9, 4), whole[20:28, 5:14])


@pytest.mark.parametrize(
    ("height", "width", "options"),
    [
        (300, 451, {"scale": 3}),
        (300, 451, {"width": 1001}),
        (300, 451, {"width": 900, "height": 900}),
        (33, 40, {"factor": 1.5}),
        (300, 451, {"height": 300}),
    ],
)
def test_sizes_are_those_of_the_command(scripts: Page, height: int, width: int, options: dict[str, Any]) -> None:
    size = None if "scale" in options else TargetSize(**options)
    plan = plan_enlargement((height, width), options.get("scale"), size)
    given = scripts.evaluate(
        "async (given) => { const { planSize, sizeLabel } = await import('/sizes.js');"
        " return [planSize(...given), sizeLabel(given[2])]; }",
        [width, height, options],
    )
    label = str(size or f"x{options['scale']}")
    assert given == [{"scale": plan.scale, "width": plan.target[1], "height": plan.target[0]}, label]


def test_sizes_out_of_reach_are_errors(scripts: Page) -> None:
    size = "(options) => import('/sizes.js').then(({ planSize }) => planSize(40, 30, options)).catch((e) => e.message)"
    assert (
        scripts.evaluate(size, {"width": 39})
        == "40 x 30 is more than the size asked for, w39: there is nothing to enlarge"
    )
    assert scripts.evaluate(size, {"factor": 5}).endswith("at most 4 times is possible here")


@pytest.mark.parametrize("content", [picture(".jpg", quality=q) for q in (30, 60, 94, 95, 100)] + [picture()])
def test_weights_are_picked_as_the_command_does(scripts: Page, content: bytes) -> None:
    compression = read_compression(io.BytesIO(content))
    name = "photo" if compression.strong else "bgai"
    given = scripts.evaluate(
        "(bytes) => import('/compression.js').then(({ pickWeights }) => pickWeights(Uint8Array.from(bytes)))",
        list(content),
    )
    assert given == {"weights": name, "reason": f"{name} weights: {compression}"}


@pytest.mark.parametrize(
    ("content", "name"),
    [(picture(".webp", lossless=True), "bgai"), (picture(".webp", quality=80), "photo"), (picture(".gif"), "bgai")],
)
def test_weights_for_other_kinds(scripts: Page, content: bytes, name: str) -> None:
    given = scripts.evaluate(
        "(bytes) => import('/compression.js').then(({ pickWeights }) => pickWeights(Uint8Array.from(bytes)).weights)",
        list(content),
    )
    assert given == name


def test_weights_are_mixed_as_the_command_does(scripts: Page) -> None:
    """At places that are no multiples of four bytes, and nowhere else."""
    random = np.random.default_rng(0)
    plain, photo = (random.standard_normal(50).astype(np.float32).tobytes() for _ in range(2))
    given = scripts.evaluate(
        """async ([plain, photo]) => {
          const { mix } = await import("/mixing.js");
          const bytes = Uint8Array.from(plain);
          mix(bytes, Uint8Array.from(photo), [[3, 10], [101, 20]], 0.4);
          return [...bytes];
        }""",
        [list(b"abc" + plain), list(b"abc" + photo)],
    )
    clean = np.float32(0.4)
    first, second = (np.frombuffer(values, "<f4") for values in (plain, photo))
    mixed = np.frombuffer(bytes(given), "<f4", 10, 3)
    np.testing.assert_allclose(mixed, ((1 - clean) * first + clean * second)[:10], rtol=1e-6, atol=1e-7)
    kept = [*range(3), *range(43, 101), *range(181, 203)]
    assert [given[place] for place in kept] == [(b"abc" + plain)[place] for place in kept]


@pytest.mark.parametrize("pixels", [texture(11, 13), transparent(11, 13)])
def test_png_files_hold_the_pixels(scripts: Page, pixels: NDArray[np.uint8]) -> None:
    content = scripts.evaluate(
        """async ([data, transparent]) => {
          const { PngWriter } = await import("/png.js");
          const writer = new PngWriter(13, 11, transparent);
          const bytes = Uint8ClampedArray.from(data);
          for (const [from, to] of [[0, 4], [4, 11]]) await writer.write(bytes.subarray(52 * from, 52 * to));
          return [...new Uint8Array(await (await writer.finish()).arrayBuffer())];
        }""",
        [bytes_of(pixels), pixels.shape[2] == 4],
    )
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(bytes(content)))), pixels)


def test_archives_can_be_opened(scripts: Page) -> None:
    content = scripts.evaluate(
        """async () => {
          const { zipFile } = await import("/zip.js");
          const file = await zipFile([["größer.png", new Blob(["one"])], ["größer.png", new Blob(["two"])]]);
          return [...new Uint8Array(await file.arrayBuffer())];
        }"""
    )
    archive = zipfile.ZipFile(io.BytesIO(bytes(content)))
    assert archive.testzip() is None
    assert {name: archive.read(name) for name in archive.namelist()} == {
        "größer.png": b"one",
        "größer (2).png": b"two",
    }


def runtime() -> Path:
    if not RUNTIME_FILE.exists():
        pytest.skip("onnxruntime-web is not in the cache: `bgai serve --static FOLDER` brings it there with npm")
    return RUNTIME_FILE


@pytest.fixture(scope="module")
def repeating(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph that repeats pixels, a little brighter."""
    graph = tmp_path_factory.mktemp("graph") / "repeating.onnx"
    save_repeating_graph(graph, shift=0.02)
    return graph


@pytest.fixture(scope="module")
def address(repeating: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the page with that graph, and a brighter one as the weights `photo`, on a plain server."""
    folder = tmp_path_factory.mktemp("static") / "page"
    brighter = folder.parent / "brighter.onnx"
    save_repeating_graph(brighter, shift=0.1)
    graphs = zip(SHIPPED_NAMES, (repeating, brighter), strict=True)
    weights = {(name, 2): Weights(name, graph, halo=16) for name, graph in graphs}
    write_static_page(folder, lambda _: None, runtime(), weights)
    with served_folder(folder) as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The static page, new to it; requests elsewhere and errors of scripts fail the test."""
    with opened(browser, address) as page:
        yield page


@contextmanager
def opened(browser: Browser, address: str, script: str = "") -> Iterator[Page]:
    """The page in a window of its own, in which a script runs first."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1200, "height": 800})
    context.add_init_script(script)
    wrong: list[str] = []

    def watch(request: Request) -> None:
        if not request.url.startswith((f"{address}/", f"blob:{address}/")):
            wrong.append(request.url)

    context.on("request", watch)  # of workers too
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.set_default_timeout(_MOST_WAIT)
    page.goto(address)
    page.wait_for_selector("#main:not([hidden])")
    yield page
    context.close()
    assert not wrong


def by_command(folder: Path, content: bytes, *options: str) -> NDArray[np.uint8]:
    """The pixels that `bgai upscale` makes."""
    (folder / "source.png").write_bytes(content)
    command = [sys.executable, "-m", "bgai", "upscale", str(folder / "source.png"), "-o", str(folder / "result.png")]
    subprocess.run([*command, "--overwrite", *options], check=True, capture_output=True)
    return np.asarray(Image.open(folder / "result.png"))


def saved(page: Page, selector: str) -> tuple[str, bytes]:
    """Name and content of the file that a click saves."""
    with page.expect_download() as download:
        page.click(selector)
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def choose(page: Page, **choices: str) -> None:
    for name, value in choices.items():
        if name == "scale":
            page.check(f"input[name=scale][value='{value}']", force=True)
        else:
            page.select_option(f"select[name={name}]", value)


@pytest.mark.parametrize("kind", ["colour", "transparent"])
def test_a_result_is_the_commands(page: Page, repeating: Path, tmp_path: Path, kind: str) -> None:
    pixels = texture(40, 51) if kind == "colour" else np.where(transparent(40, 51)[..., 3:] > 0, texture(40, 51, 4), 0)
    pixels = pixels.astype(np.uint8)
    if kind == "transparent":
        pixels[..., 3] = np.where(pixels[..., 3] > 128, 255, 0)  # a canvas rounds colours of those between
        pixels[pixels[..., 3] == 0] = 0
    content = encoded(pixels, ".png")
    choose(page, scale="2", weights="bgai")
    drop(page, small_png=content)
    name, result = saved(page, f"{entry(page, 'small.png', 'done')} .save")
    assert name == "small_x2.png"
    expected = by_command(tmp_path, content, "--weights", str(repeating), "--halo", "16")
    given = np.asarray(Image.open(io.BytesIO(result)))
    assert given.shape == expected.shape
    assert np.abs(given.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("clean", "shift"), [("0", 0.02), ("0.4", 0.052), ("1", 0.1)])
def test_a_strength_mixes_both_weights(page: Page, tmp_path: Path, clean: str, shift: float) -> None:
    """Graphs that make pixels brighter by 0.02 and by 0.1."""
    save_repeating_graph(tmp_path / "mixed.onnx", shift)
    content = encoded(texture(40, 51), ".png")
    choose(page, scale="2", weights="between")
    set_strength(page, clean)
    drop(page, small_png=content)
    _, result = saved(page, f"{entry(page, 'small.png', 'done')} .save")
    expected = by_command(tmp_path, content, "--weights", str(tmp_path / "mixed.onnx"), "--halo", "16")
    given = np.asarray(Image.open(io.BytesIO(result)))
    assert np.abs(given.astype(int) - expected).max() <= 1


def set_strength(page: Page, clean: str) -> None:
    page.locator("input[name=clean]").fill(clean)


def test_graphs_of_other_layouts_are_not_mixed(repeating: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    shift = helper.make_node("Add", ["lr", "more"], ["sr"])
    save_graph(other, [shift], more=[0.1])
    weights = {("bgai", 2): Weights("bgai", repeating), ("photo", 2): Weights("photo", other)}
    told: list[str] = []
    write_static_page(tmp_path / "page", told.append, runtime(), weights)
    assert told == [
        "graphs/photo_x2.onnx: differs from graphs/bgai_x2.onnx in more than its weights: no strength between the two"
    ]
    assert json.loads((tmp_path / "page" / "graphs.json").read_text())["between"] == {}


def test_threads_are_there_after_the_first_load(page: Page) -> None:
    assert page.evaluate("crossOriginIsolated")
    count = page.evaluate("Math.min(navigator.hardwareConcurrency, 8)")
    engine = f"in {count} threads" if count > 1 else "in one thread"
    assert page.inner_text("#engine").startswith(f"Enlarged by this browser, {engine}: in 8 bits and sRGB")
    assert page.inner_text("#kinds").startswith("PNG, JPEG, WebP, AVIF, GIF, and BMP, up to 500 MB and 50 megapixels")
    assert page.inner_text("[data-t=dropHelp]") == "or paste one. They stay on this machine."


def test_from_the_drop_to_the_archive(page: Page) -> None:
    choose(page, scale="2", format="")
    drop(page, good_jpg=picture(".jpg", quality=60), broken_png=picture()[:40], other_webp=picture(".webp", quality=80))
    done = entry(page, "good.jpg", "done")
    assert page.inner_text(f"{done} .state") == "photo weights: JPEG of quality about 60"
    failed = entry(page, "broken.png", "failed")
    assert page.inner_text(f"{failed} .state") == "broken.png: damaged, or of a kind that this browser does not read"
    entry(page, "other.webp", "done")
    name, archive = saved(page, "#zip")
    assert name == "enlarged.zip"
    results = zipfile.ZipFile(io.BytesIO(archive))
    assert sorted(results.namelist()) == ["good_x2.jpg", "other_x2.webp"]
    kinds = [Image.open(io.BytesIO(results.read(name))) for name in sorted(results.namelist())]
    assert [(kind.format, kind.size) for kind in kinds] == [("JPEG", (24, 20)), ("WEBP", (24, 20))]


def test_both_sides_of_the_comparison_are_shown(page: Page) -> None:
    choose(page, scale="2")
    drop(page, small_png=picture())
    page.click(f"{entry(page, 'small.png', 'done')} .compare")
    page.wait_for_selector("#loading", state="hidden")
    sizes = page.evaluate("['before', 'after'].map((id) => document.getElementById(id).naturalWidth)")
    assert sizes == [24, 24]
    page.keyboard.press("Escape")


def large() -> bytes:
    """A picture that takes a while, in a small file."""
    return encoded(np.full((1500, 1500, 3), 90, np.uint8), ".png")


def test_pictures_and_results_survive_a_reload(page: Page) -> None:
    choose(page, scale="2")
    drop(page, one_png=picture())
    entry(page, "one.png", "done")
    drop(page, large_png=large(), last_png=picture())
    page.wait_for_selector(".item[data-state=running]")
    page.reload()
    for name in ("one.png", "large.png", "last.png"):
        entry(page, name, "done")
    page.click("#clear")
    page.wait_for_selector("body.empty")
    page.reload()
    page.wait_for_selector("#main:not([hidden])")
    assert page.locator(".item").count() == 0


def test_a_picture_can_be_stopped(page: Page) -> None:
    choose(page, scale="2")
    drop(page, large_png=large(), small_png=picture())
    page.wait_for_selector('.item[data-state=running]:has(h3:text-is("large.png"))')
    page.click('.item:has(h3:text-is("large.png")) .remove')
    entry(page, "small.png", "done")
    assert page.locator(".item").count() == 1


def test_the_browser_refuses_requests_elsewhere(browser: Browser, address: str) -> None:
    """The page's own policy, without any header of the server."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(_MOST_WAIT)
    page.goto(address)
    page.wait_for_selector("#main:not([hidden])")
    asked = "fetch('http://localhost:9/').catch((error) => error.name)"
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    assert page.evaluate(asked) == "TypeError"
    assert any("Content Security Policy" in text for text in refused)
    context.close()


def test_another_runtime_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.tgz"
    other.write_bytes(b"something else")
    with pytest.raises(UsageError, match=f"other.tgz: not {RUNTIME}, or damaged"):
        write_static_page(tmp_path / "page", lambda _: None, other, {})
    assert not (tmp_path / "page").exists()


def test_without_npm_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"npm, which fetches it, is not installed: run  npm pack onnxruntime-web@1"):
        write_static_page(tmp_path / "page", lambda _: None)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `bgai serve --static` with the graphs of the package for ×2."""
    folder = tmp_path_factory.mktemp("networks") / "page"
    weights = {(name, 2): find_weights(name, 2) for name in SHIPPED_NAMES}
    write_static_page(folder, lambda _: None, runtime(), weights)
    with served_folder(folder) as address:
        yield address


@pytest.mark.slow
def test_the_networks_result_is_the_commands(browser: Browser, networks: str, tmp_path: Path) -> None:
    """On a picture of several tiles."""
    content = encoded(texture(300, 420), ".png")
    with opened(browser, networks) as page:
        result = enlarged_by_network(page, content, weights="bgai")
    expected = by_command(tmp_path, content, "--weights", "bgai", "--scale", "2")
    assert np.abs(result - expected).max() <= 1


@pytest.mark.slow
def test_the_result_of_a_strength_is_the_commands(browser: Browser, networks: str, tmp_path: Path) -> None:
    content = encoded(texture(60, 85), ".png")
    with opened(browser, networks) as page:
        choose(page, weights="between")
        set_strength(page, "0.4")
        result = enlarged_by_network(page, content, weights="between")
    expected = by_command(tmp_path, content, "--clean", "0.4", "--scale", "2")
    assert np.abs(result - expected).max() <= 1
    pure = by_command(tmp_path, content, "--weights", "bgai", "--scale", "2")
    assert np.abs(result - pure).max() > 1  # so that it shows


_SOFTWARE_GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan")
# The page does not take a GPU that is made of software.
_AS_A_REAL_GPU = "Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { value: false })"


@pytest.mark.slow
def test_the_result_of_a_gpu_is_the_commands(browser: Browser, networks: str, tmp_path: Path) -> None:
    content = encoded(texture(60, 85), ".png")
    with browser.browser_type.launch(executable_path=CHROMIUM, args=_SOFTWARE_GPU) as with_gpu:
        if not has_gpu(with_gpu, networks):
            pytest.skip("this browser has no WebGPU, nor one that is made of software")
        with opened(with_gpu, networks, _AS_A_REAL_GPU) as page:
            assert page.inner_text("#engine").startswith("Enlarged by this browser, on the GPU")
            result = enlarged_by_network(page, content, weights="bgai")
    expected = by_command(tmp_path, content, "--weights", "bgai", "--scale", "2")
    assert np.abs(result - expected).max() <= 1


def has_gpu(browser: Browser, address: str) -> bool:
    page = browser.new_page()
    page.set_default_timeout(_MOST_WAIT)
    page.goto(address)
    page.wait_for_selector("#main:not([hidden])")  # the page loads itself a second time before
    found = page.evaluate("navigator.gpu ? navigator.gpu.requestAdapter().then(Boolean, () => false) : false")
    page.close()
    return bool(found)


def enlarged_by_network(page: Page, content: bytes, weights: str) -> NDArray[np.int64]:
    """Of a result at ×2, its pixels."""
    page.set_default_timeout(3 * _MOST_WAIT)
    choose(page, scale="2", weights=weights)
    drop(page, picture_png=content)
    _, result = saved(page, f"{entry(page, 'picture.png', 'done')} .save")
    return np.asarray(Image.open(io.BytesIO(result))).astype(int)


@pytest.mark.slow
def test_a_picture_of_24_megapixels(page: Page, tmp_path: Path) -> None:
    """With the graph that repeats pixels: what the page itself takes, to 96 megapixels."""
    page.set_default_timeout(3 * _MOST_WAIT)
    pixels = np.tile(texture(40, 60), (100, 100, 1))
    choose(page, scale="2", format="png")
    drop(page, large_png=encoded(pixels, ".png"))
    _, result = saved(page, f"{entry(page, 'large.png', 'done')} .save")
    (tmp_path / "result.png").write_bytes(result)
    enlarged = read_picture(tmp_path / "result.png").pixels
    assert enlarged.shape == (8000, 12000, 3)
    assert np.abs(enlarged[::2, ::2].astype(int) - np.minimum(pixels.astype(int) + 5, 255)).max() <= 1
    most = page_memory()
    print(f"memory of the page: {most / 2**20:.0f} MiB")
    assert most < 2 * 2**30
