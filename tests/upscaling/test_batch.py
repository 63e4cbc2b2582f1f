"""Files and folders: what becomes of each, and what is left alone."""

from __future__ import annotations

import hashlib
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import texture

import bgai.upscaling.batch
from bgai.errors import OutputError, UsageError
from bgai.pictures.reading import read_picture
from bgai.pictures.writing import PictureWriter
from bgai.upscaling.batch import Done, FittingUpscalers, OutputSettings, plan_jobs, run_job
from bgai.upscaling.upscaler import Upscaler


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.png, b.jpg, notes.txt, .hidden.png and deep/c.webp."""
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    for name in ("a.png", "b.jpg", ".hidden.png", "deep/c.webp"):
        Image.fromarray(texture(12, 16)).save(photos / name)
    (photos / "notes.txt").write_text("not a picture")
    return photos


def targets(inputs: list[Path], recursive: bool = False, **settings: object) -> list[str]:
    plan = plan_jobs(inputs, 4, OutputSettings(**settings), recursive)
    assert not plan.failures
    return [job.target.as_posix() for job in plan.jobs]


def test_a_file_gets_a_name_beside_it(folder: Path) -> None:
    assert targets([folder / "a.png"]) == [f"{folder}/a_x4.png"]
    assert targets([folder / "b.jpg"], format="png") == [f"{folder}/b_x4.png"]


def test_a_file_goes_where_it_is_sent(folder: Path, tmp_path: Path) -> None:
    assert targets([folder / "a.png"], out=tmp_path / "new/big.webp") == [f"{tmp_path}/new/big.webp"]
    assert targets([folder / "a.png"], out=tmp_path / "new") == [f"{tmp_path}/new/a_x4.png"]
    assert targets([folder / "a.png", folder / "b.jpg"], out=tmp_path) == [
        f"{tmp_path}/a_x4.png",
        f"{tmp_path}/b_x4.jpg",
    ]


def test_a_folder_gets_a_folder(folder: Path, tmp_path: Path) -> None:
    assert targets([folder]) == [f"{tmp_path}/photos_x4/{name}" for name in ("a.png", "b.jpg")]
    deep = targets([folder], recursive=True, out=tmp_path / "out")
    assert deep == [f"{tmp_path}/out/{name}" for name in ("a.png", "b.jpg", "deep/c.webp")]


def test_the_current_folder_has_a_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert targets([Path()])[0] == f"{tmp_path}/photos_x4/a.png"


def test_outputs_inside_the_input_are_not_inputs(folder: Path) -> None:
    (folder / "out").mkdir()
    Image.fromarray(texture(12, 16)).save(folder / "out/a.png")
    plan = plan_jobs([folder], 4, OutputSettings(out=folder / "out"), recursive=True)
    assert [job.source.name for job in plan.jobs] == ["b.jpg", "c.webp"]
    assert [path.name for path in plan.finished] == ["a.png"]


def test_finished_outputs_are_skipped_unless_asked(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").touch()
    plan = plan_jobs([folder], 4, OutputSettings(out=tmp_path / "out"))
    assert [path.name for path in plan.finished] == ["a.png"]
    again = plan_jobs([folder], 4, OutputSettings(out=tmp_path / "out", overwrite=True))
    assert len(again.jobs) == 2


def test_an_existing_output_of_a_named_file_is_an_error(folder: Path) -> None:
    (folder / "a_x4.png").touch()
    plan = plan_jobs([folder / "a.png"], 4, OutputSettings())
    assert "--overwrite" in str(plan.failures[0])


def test_an_original_is_never_its_own_output(folder: Path) -> None:
    for settings in (OutputSettings(out=folder / "a.png", overwrite=True), OutputSettings(out=folder, overwrite=True)):
        plan = plan_jobs([folder / "a.png" if settings.out != folder else folder], 4, settings)
        assert not plan.jobs
        assert "would replace an original" in str(plan.failures[0])


def test_two_pictures_do_not_share_an_output(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(texture(12, 16)).save(folder / "a.jpg")
    plan = plan_jobs([folder], 4, OutputSettings(out=tmp_path / "out", format="png"))
    assert len(plan.failures) == 1
    assert isinstance(plan.failures[0], OutputError)
    with pytest.raises(UsageError, match="give a folder"):
        plan_jobs([folder / "a.png", folder / "b.jpg"], 4, OutputSettings(out=tmp_path / "one.png"))


def test_a_folder_without_pictures_says_so(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert "no pictures" in str(plan_jobs([tmp_path / "none"], 4, OutputSettings()).failures[0])
    assert "-r" in str(plan_jobs([tmp_path], 4, OutputSettings()).failures[0])


def test_a_bad_file_does_not_stop_the_others(folder: Path) -> None:
    (folder / "bad.png").write_text("no picture")
    plan = plan_jobs([folder], 4, OutputSettings())
    assert len(plan.jobs) == 2
    assert len(plan.failures) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": "bmp"},
        {"quality": 0},
        {"max_megapixels": 0},
        {"max_megapixels": float("inf")},
        {"max_megapixels": float("nan")},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=str(next(iter(wrong.values())))):
        OutputSettings(**wrong)


def test_a_job_enlarges_and_leaves_the_original(folder: Path) -> None:
    before = hashlib.sha256((folder / "a.png").read_bytes()).digest()
    (job,) = plan_jobs([folder / "a.png"], 4, OutputSettings()).jobs
    upscaler = Upscaler(4, engine="openvino")
    calls: list[tuple[int, int]] = []
    assert run_job(job, upscaler, OutputSettings(), lambda *call: calls.append(call)) == Done("", ())
    assert calls[-1] == (job.pixels, job.pixels)
    expected = upscaler.upscale(np.array(Image.open(folder / "a.png")))
    np.testing.assert_array_equal(np.array(Image.open(job.target)), expected)
    assert hashlib.sha256((folder / "a.png").read_bytes()).digest() == before


def test_one_original_is_never_the_output_of_another(folder: Path) -> None:
    Image.fromarray(texture(12, 16, seed=5)).save(folder / "a.jpg")
    before = (folder / "a.png").read_bytes()
    settings = OutputSettings(out=folder, format="png", overwrite=True)
    plan = plan_jobs([folder], 4, settings)
    assert [job.source.name for job in plan.jobs] == ["b.jpg"]
    assert len(plan.failures) == 2
    plan = plan_jobs([folder / "a.jpg", folder / "a_x4.jpg"], 4, OutputSettings(overwrite=True))
    assert all("would replace an original" in str(failure) or "No such" in str(failure) for failure in plan.failures)
    assert not plan.jobs
    assert (folder / "a.png").read_bytes() == before


def test_a_broken_picture_does_not_claim_the_output_of_a_good_one(folder: Path) -> None:
    (folder / "a.jpeg").write_text("broken")
    plan = plan_jobs([folder], 4, OutputSettings(format="png"))
    assert "a.png" in [job.source.name for job in plan.jobs]


def test_relative_and_absolute_names_of_the_output_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "out").mkdir()
    Image.fromarray(texture(12, 16)).save(folder / "out/a.png")
    monkeypatch.chdir(tmp_path)
    plan = plan_jobs([folder], 4, OutputSettings(out=Path("photos/out")), recursive=True)
    assert not any("out" in job.source.parts for job in plan.jobs)


def test_the_root_has_no_folder_beside_it() -> None:
    assert "give one with -o" in str(plan_jobs([Path("/")], 4, OutputSettings()).failures[0])


def test_a_name_that_is_no_utf8_does_not_stop_the_others(folder: Path) -> None:
    try:
        (folder / "caf\udce9.png").write_bytes((folder / "a.png").read_bytes())
    except OSError:
        pytest.skip("the file system refuses such names")
    plan = plan_jobs([folder], 4, OutputSettings())
    assert len(plan.jobs) == 2
    assert "not valid UTF-8" in str(plan.failures[0])


def test_a_name_and_a_format_that_disagree_are_refused() -> None:
    with pytest.raises(UsageError, match="does not agree with format jpeg"):
        OutputSettings(out=Path("a.png"), format="jpeg")
    assert OutputSettings(out=Path("a.jpeg"), format="jpg")


def test_one_strip_is_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They can be as large as the tiles' share of it."""
    Image.fromarray(texture(150, 40)).save(tmp_path / "a.png")
    written: list[weakref.ref[np.ndarray]] = []
    alive: list[bool] = []
    write = PictureWriter.write

    def note(writer: PictureWriter, rows: np.ndarray) -> None:
        written.append(weakref.ref(rows))
        write(writer, rows)

    monkeypatch.setattr(PictureWriter, "write", note)
    (job,) = plan_jobs([tmp_path / "a.png"], 4, OutputSettings()).jobs
    upscaler = Upscaler(engine="openvino", tile=64, halo=16)
    run_job(job, upscaler, OutputSettings(), lambda *_: alive.append(any(strip() is not None for strip in written)))
    assert len(written) > 2
    assert not any(alive)


def open_upscaler(opened: list[str]) -> FittingUpscalers:
    def open(weights: str) -> Upscaler:
        opened.append(weights)
        return Upscaler(4, weights, "openvino")

    return FittingUpscalers(open)


def run(source: Path, upscaler: Upscaler | FittingUpscalers) -> tuple[str, np.ndarray]:
    settings = OutputSettings(format="png", overwrite=True)
    (job,) = plan_jobs([source], 4, settings).jobs
    return run_job(job, upscaler, settings).weights, np.array(Image.open(job.target))


def test_each_picture_gets_the_weights_that_fit_it(tmp_path: Path, photo_weights: Path) -> None:
    picture = Image.fromarray(texture(20, 24))
    picture.save(tmp_path / "clean.png")
    picture.save(tmp_path / "good.jpg", quality=97)
    picture.save(tmp_path / "bad.jpg", quality=40)
    opened: list[str] = []
    fitting = open_upscaler(opened)
    assert opened == ["bgai"]
    for name, weights, reason in (
        ("clean.png", "bgai", "lossless PNG"),
        ("bad.jpg", "photo", "JPEG of quality about 40"),
        ("good.jpg", "bgai", "JPEG of quality about 97"),
        ("bad.jpg", "photo", "JPEG of quality about 40"),
    ):
        said, pixels = run(tmp_path / name, fitting)
        assert said == f"{weights} weights: {reason}"
        np.testing.assert_array_equal(pixels, run(tmp_path / name, Upscaler(4, weights, "openvino"))[1])
    assert opened == ["bgai", "photo"]


def test_a_jpeg_that_was_saved_as_png_is_known(tmp_path: Path, photo_weights: Path) -> None:
    fitting = open_upscaler([])
    for quality, expected in (
        (60, "photo weights: PNG, once a JPEG of quality about 60"),
        (95, "bgai weights: lossless PNG"),
    ):
        Image.fromarray(texture(128, 128)).save(tmp_path / "a.jpg", quality=quality)
        Image.open(tmp_path / "a.jpg").crop((3, 5, 128, 128)).save(tmp_path / "a.png")
        (job,) = plan_jobs([tmp_path / "a.png"], 4, OutputSettings(overwrite=True)).jobs
        assert fitting.pick(job.source, read_picture(job.source))[1] == expected


def test_the_engine_that_waits_holds_no_graphs(tmp_path: Path, photo_weights: Path) -> None:
    Image.fromarray(texture(20, 24)).save(tmp_path / "a.jpg", quality=40)
    Image.fromarray(texture(20, 24)).save(tmp_path / "b.png")
    picture = read_picture(tmp_path / "b.png")
    fitting = open_upscaler([])
    for name in ("bgai", "photo", "bgai"):
        picked, _ = fitting.pick(tmp_path / ("a.jpg" if name == "photo" else "b.png"), picture)
        assert picked is fitting._ready[name]
        picked.upscale(picture.pixels)
        working = [kind for kind, upscaler in fitting._ready.items() if upscaler.engine._requests]
        assert working == [name]


def test_without_photo_weights_there_is_nothing_to_choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bgai.upscaling.batch, "shipped_scales", lambda _: ())
    Image.fromarray(texture(20, 24)).save(tmp_path / "a.jpg", quality=40)
    said, pixels = run(tmp_path / "a.jpg", open_upscaler([]))
    assert said == ""
    np.testing.assert_array_equal(pixels, run(tmp_path / "a.jpg", Upscaler(4, "bgai", "openvino"))[1])
