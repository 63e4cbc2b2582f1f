"""Animations and files of several pages, enlarged."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from picture_support import peak_growth, write_tiff
from PIL import Image
from support import save_repeating_graph, texture

from bgai.errors import ImageError, OutputError
from bgai.pictures.reading import read_contents, read_frames, read_picture
from bgai.upscaling.batch import OutputSettings, plan_jobs, run_job
from bgai.upscaling.files import upscale_file
from bgai.upscaling.fitting import used_weights
from bgai.upscaling.recipe import read_recipe
from bgai.upscaling.sizes import TargetSize
from bgai.upscaling.upscaler import Upscaler

DELAYS = [100, 30, 70, 250]


@pytest.fixture(scope="module")
def doubler(tmp_path_factory: pytest.TempPathFactory) -> Upscaler:
    """Repeats pixels, so that results are exact."""
    path = tmp_path_factory.mktemp("graph") / "twice.onnx"
    save_repeating_graph(path, 0.0)
    return Upscaler(weights=path, engine="openvino")


def twice(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels.repeat(2, axis=0).repeat(2, axis=1)


def pictures(transparent: bool) -> list[NDArray[np.uint8]]:
    """A block of one of four colours that moves, on a background or on nothing."""
    frames = []
    for index, colour in enumerate(((250, 10, 10), (10, 250, 10), (10, 10, 250), (250, 250, 10))):
        pixels = np.zeros((24, 32, 4), np.uint8)
        if not transparent:
            pixels[:] = (40, 90, 140, 255)
        pixels[6:14, 6 * index : 6 * index + 8] = (*colour, 255)
        frames.append(pixels)
    return frames


def animation(path: Path, transparent: bool, plays: int = 3) -> list[NDArray[np.uint8]]:
    expected = pictures(transparent)
    mode = "RGBA" if transparent else "RGB"
    first, *others = (Image.fromarray(pixels).convert(mode) for pixels in expected)
    loop = plays - (path.suffix == ".gif")  # which counts repetitions
    by_format: dict[str, dict[str, Any]] = {".webp": {"lossless": True, "exact": True}, ".gif": {"disposal": 2}}
    options = by_format.get(path.suffix, {})
    if path.suffix == ".png" and transparent:
        options = {"disposal": 1, "blend": 0}
    first.save(path, save_all=True, append_images=others, duration=DELAYS, loop=loop, **options)
    return expected


def assert_same(found: NDArray[Any], expected: NDArray[Any], name: str) -> None:
    """Colours of what is not transparent; and alpha."""
    if found.shape[2] == 4:
        np.testing.assert_array_equal(found[..., 3], expected[..., 3], err_msg=name)
    visible = expected[..., 3] > 0
    np.testing.assert_allclose(found[visible][:, :3], expected[visible][:, :3], atol=2, err_msg=name)


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("target", [".gif", ".webp", ".png"])
@pytest.mark.parametrize("source", [".gif", ".webp", ".png"])
def test_each_frame_is_enlarged(source: str, target: str, transparent: bool, doubler: Upscaler, tmp_path: Path) -> None:
    expected = animation(tmp_path / f"a{source}", transparent)
    calls: list[tuple[int, int]] = []
    done = upscale_file(
        tmp_path / f"a{source}",
        tmp_path / f"b{target}",
        upscaler=doubler,
        lossless=target == ".webp",
        progress=lambda *call: calls.append(call),
    )
    assert done.notes == ()
    assert calls[-1] == (4 * 48 * 64, 4 * 48 * 64)
    # By Pillow, which this package writes nothing with.
    image = Image.open(done.target)
    assert (image.size, image.n_frames) == ((64, 48), 4)  # type: ignore[attr-defined]
    assert image.info["loop"] == 3 - (target == ".gif")
    for index, (pixels, delay) in enumerate(zip(expected, DELAYS, strict=True)):
        image.seek(index)
        image.load()
        assert image.info["duration"] == delay
        assert_same(np.array(image.convert("RGBA")), twice(pixels), f"{source} {target} {index}")
    frames = [frame.pixels.copy() for frame in read_frames(done.target, read_picture(done.target))]
    assert len(frames) == 4
    recipe = read_recipe(done.target)
    assert recipe is not None
    assert recipe.scale == "2"


@pytest.mark.skipif(not shutil.which("exiftool"), reason="needs exiftool")
@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_exiftool_finds_the_animation_and_its_recipe(suffix: str, doubler: Upscaler, tmp_path: Path) -> None:
    animation(tmp_path / f"a{suffix}", False)
    target = upscale_file(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", upscaler=doubler).target
    command = ["exiftool", "-a", "-G1", str(target)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(r"XMP-bgai\]\s+Source\s", said), said
    assert re.search(r"(Frame Count|Animation Frames)\s+: 4|Duration\s+: 0.45", said) or suffix == ".webp", said
    assert "Error" not in said, said
    assert "Warning" not in said, said


def test_other_formats_get_the_first_frame_with_a_note(doubler: Upscaler, tmp_path: Path) -> None:
    expected = animation(tmp_path / "a.gif", False)
    for suffix in (".jpg", ".tif", ".avif"):
        done = upscale_file(tmp_path / "a.gif", tmp_path / f"b{suffix}", upscaler=doubler, quality=100)
        assert done.notes == (f"the first of 4 pictures of an animation, which {suffix} cannot hold",)
        pixels = np.array(Image.open(done.target).convert("RGB")).astype(int)
        assert np.abs(pixels - twice(expected[0])[..., :3]).mean() < 4


def test_animations_keep_their_format_and_stills_do_not_become_gif(doubler: Upscaler, tmp_path: Path) -> None:
    for suffix in (".gif", ".webp", ".png"):
        animation(tmp_path / f"moving{suffix}", False)
    animation(tmp_path / "m.png", False)
    (tmp_path / "m.png").rename(tmp_path / "other.apng")
    Image.fromarray(texture(9, 9)).save(tmp_path / "still.gif")
    plan = plan_jobs([tmp_path], 2, OutputSettings(tmp_path / "out"), weights=lambda _: "")
    assert not plan.failures or "would also be" in str(plan.failures[0])
    found = {job.source.name: (job.target.name, job.file.frames) for job in plan.jobs}
    assert found == {
        "moving.gif": ("moving.gif", 4),
        "moving.png": ("moving.png", 4),
        "moving.webp": ("moving.webp", 4),
        "other.apng": ("other.png", 4),
        "still.gif": ("still.png", 1),
    }
    assert plan.jobs[0].pixels == 4 * 48 * 64


def test_a_second_run_knows_a_finished_animation(doubler: Upscaler, tmp_path: Path) -> None:
    animation(tmp_path / "a.gif", True)
    settings = OutputSettings(tmp_path / "out")

    def weights(scale: int) -> str:
        return used_weights(doubler, scale)

    (job,) = plan_jobs([tmp_path / "a.gif"], 2, settings, weights=weights).jobs
    target = run_job(job, doubler, settings).target
    assert plan_jobs([tmp_path / "a.gif"], 2, settings, weights=weights).finished == [target]


def test_a_size_of_its_own(doubler: Upscaler, tmp_path: Path) -> None:
    animation(tmp_path / "a.webp", False)
    target = upscale_file(tmp_path / "a.webp", tmp_path / "b.gif", size=TargetSize(width=50), upscaler=doubler).target
    image = Image.open(target)
    assert (image.size, image.n_frames) == ((50, 38), 4)  # type: ignore[attr-defined]


def test_times_that_gif_cannot_say_do_not_drift(doubler: Upscaler, tmp_path: Path) -> None:
    first, *others = (Image.fromarray(texture(8, 8, seed=seed)) for seed in range(9))
    first.save(tmp_path / "a.webp", save_all=True, append_images=others, duration=33, loop=0)
    target = upscale_file(tmp_path / "a.webp", tmp_path / "b.gif", upscaler=doubler).target
    delays = pyvips.Image.gifload(str(target), n=-1).get("delay")
    assert set(delays) == {30, 40}
    assert abs(sum(delays) - 9 * 33) <= 5


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animation_that_ends_early(suffix: str, doubler: Upscaler, tmp_path: Path) -> None:
    """Is refused, or with `lenient` as long as its whole frames; nothing is left either way."""
    source, target = tmp_path / f"a{suffix}", tmp_path / "out/b.png"
    first, *others = (Image.fromarray(texture(40, 60, seed=seed)) for seed in range(6))
    first.save(source, save_all=True, append_images=others, duration=50, loop=0)
    source.write_bytes(source.read_bytes()[: -source.stat().st_size // 3])
    with pytest.raises(ImageError, match="damaged"):
        upscale_file(source, target, upscaler=doubler)
    assert not target.parent.exists() or not list(target.parent.iterdir())
    if suffix == ".webp":
        return  # of which libvips opens none that ends early
    done = upscale_file(source, target, upscaler=doubler, lenient=True)
    assert any("damaged" in note for note in done.notes), done.notes
    assert 1 <= (read_contents(target).frames) < 6


def test_all_frames_together_have_a_limit(doubler: Upscaler, tmp_path: Path) -> None:
    animation(tmp_path / "a.gif", False)
    with pytest.raises(ImageError, match=r"4 pictures of 0\.003072 megapixels in all") as error:
        upscale_file(tmp_path / "a.gif", tmp_path / "b.gif", upscaler=doubler, max_pixels=3000)
    assert error.value.parameter == "max_megapixels"


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_one_frame_is_in_memory_at_a_time(suffix: str, tmp_path: Path) -> None:
    """All 60 would take 57 MB."""
    first, *others = (Image.fromarray(np.roll(texture(500, 640), 9 * index, axis=1)) for index in range(60))
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=others, duration=50)
    code = f"""
from bgai.pictures.reading import read_frames
path = Path("a{suffix}")
first = read_picture(path)
count = 0
before = peak()
for frame in read_frames(path, first):
    count += frame.pixels.shape == (500, 640, 3) or frame.pixels.shape == (500, 640, 4)
assert count == 60
print(peak() - before)
"""
    assert peak_growth(code, tmp_path) < 30_000


PAGES: list[NDArray[Any]] = [
    texture(20, 30),
    texture(31, 17, channels=4, seed=1),
    texture(9, 9, seed=2)[..., 0].astype(np.uint16) * 257,
    np.linspace(0, 1, 300, dtype=np.float32).reshape(10, 10, 3),
]


def several_pages(path: Path, count: int = len(PAGES)) -> None:
    from bgai.pictures.tiff_pages import append_page

    for number, pixels in enumerate(PAGES[:count]):
        image = pyvips.Image.new_from_array(pixels)
        kinds = {(np.dtype(np.uint16), 1): "grey16", (np.dtype(np.float32), 3): "scrgb"}
        image = image.copy(interpretation=kinds.get((pixels.dtype, image.bands), "srgb"))
        image.tiffsave(str(path if not number else path.with_name("page.tif")))
        if number:
            append_page(path, path.with_name("page.tif"))


def test_pages_of_different_kinds_are_enlarged_as_pages(doubler: Upscaler, tmp_path: Path) -> None:
    several_pages(tmp_path / "a.tif")
    calls: list[tuple[int, int]] = []
    done = upscale_file(
        tmp_path / "a.tif", tmp_path / "b.tif", upscaler=doubler, progress=lambda *call: calls.append(call)
    )
    assert done.notes == ()
    assert calls[-1][0] == calls[-1][1] == 4 * sum(pixels.shape[0] * pixels.shape[1] for pixels in PAGES)
    assert read_contents(done.target).pages == tuple((2 * page.shape[0], 2 * page.shape[1]) for page in PAGES)
    for number, pixels in enumerate(PAGES):
        found = read_picture(done.target, page=number).pixels
        assert found.dtype == pixels.dtype
        if found.ndim == 3 and found.shape[2] == 4:
            np.testing.assert_array_equal(found[..., 3], twice(pixels)[..., 3])
            continue
        np.testing.assert_allclose(found, twice(pixels), atol=1e-6)
    recipe = read_recipe(done.target)
    assert recipe is not None
    assert recipe.size == ""


def test_pages_get_sizes_of_their_own(tmp_path: Path) -> None:
    several_pages(tmp_path / "a.tif", 2)
    done = upscale_file(tmp_path / "a.tif", tmp_path / "b.tif", size=TargetSize(width=50), weights="bgai")
    assert read_contents(done.target).pages == ((33, 50), (91, 50))
    recipe = read_recipe(done.target)
    assert recipe is not None
    assert recipe.size == "50x33 50x91"


def test_other_formats_get_the_first_page_with_a_note(doubler: Upscaler, tmp_path: Path) -> None:
    several_pages(tmp_path / "a.tif")
    done = upscale_file(tmp_path / "a.tif", tmp_path / "b.png", upscaler=doubler)
    assert done.notes == ("the first of 4 pages, of which .png holds one",)
    np.testing.assert_array_equal(np.array(Image.open(done.target)), twice(PAGES[0]))


def test_a_page_that_cannot_be_read(doubler: Upscaler, tmp_path: Path) -> None:
    """The file is refused, or `lenient` takes the pages before it; a cut directory is no last page."""
    source, target = tmp_path / "a.tif", tmp_path / "out/b.tif"
    several_pages(source)
    data = source.read_bytes()
    source.write_bytes(data[:-100])
    with pytest.raises(ImageError, match="of its pages, the directory of number 4 is not whole"):
        upscale_file(source, target, upscaler=doubler)
    done = upscale_file(source, target, upscaler=doubler, lenient=True)
    assert "directory of number 4 is not whole" in done.notes[0]
    assert len(read_contents(target).pages) == 3


def test_a_page_of_a_kind_that_is_not_read_leaves_nothing(doubler: Upscaler, tmp_path: Path) -> None:
    from bgai.pictures.tiff_pages import append_page

    several_pages(tmp_path / "a.tif", 1)
    write_tiff(tmp_path / "double.tif", np.zeros((9, 9)))
    append_page(tmp_path / "a.tif", tmp_path / "double.tif")
    with pytest.raises(ImageError, match="64 bits a sample"):
        upscale_file(tmp_path / "a.tif", tmp_path / "out/b.tif", upscaler=doubler)
    assert not (tmp_path / "out").exists()


def test_an_animation_is_not_written_over_an_output(doubler: Upscaler, tmp_path: Path) -> None:
    animation(tmp_path / "a.gif", False)
    (tmp_path / "b.gif").write_bytes(b"theirs")
    with pytest.raises(OutputError, match="exists already"):
        upscale_file(tmp_path / "a.gif", tmp_path / "b.gif", upscaler=doubler)
    assert (tmp_path / "b.gif").read_bytes() == b"theirs"


MAKERS: dict[str, Callable[[Path], object]] = {"a.gif": lambda path: animation(path, True), "a.tif": several_pages}


@pytest.mark.parametrize("name", MAKERS)
def test_an_interrupt_leaves_nothing(name: str, doubler: Upscaler, tmp_path: Path) -> None:
    MAKERS[name](tmp_path / name)
    before = set(tmp_path.iterdir())
    calls: list[int] = []

    def stop(*_: int) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upscale_file(tmp_path / name, tmp_path / f"b{Path(name).suffix}", upscaler=doubler, progress=stop)
    assert set(tmp_path.iterdir()) == before
