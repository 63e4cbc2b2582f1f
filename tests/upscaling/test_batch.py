"""Files and folders: what becomes of each, and what is left alone."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import texture

from bgai.atomic_files import claimed
from bgai.errors import ImageError, InWorkError, OutputError, UsageError
from bgai.pictures.reading import Picture, read_picture, read_xmp
from bgai.pictures.writing import PictureWriter
from bgai.types import Pixels
from bgai.upscaling import batch, pages
from bgai.upscaling.batch import Job, OutputSettings, Plan, run_job, run_jobs
from bgai.upscaling.files import EnlargedFile
from bgai.upscaling.fitting import used_weights
from bgai.upscaling.recipe import read_recipe, weights_digest
from bgai.upscaling.sizes import TargetSize
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.sources import find_weights

BGAI = weights_digest(find_weights("bgai", 4))


def plan_jobs(
    inputs: list[Path], scale: int, settings: OutputSettings, recursive: bool = False, weights: str = BGAI
) -> Plan:
    """With the weights `bgai`."""
    return batch.plan_jobs(inputs, scale, settings, recursive, weights=lambda _: weights)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.png, b.jpg, notes.txt, .hidden.png and deep/c.webp."""
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    for name in ("a.png", "b.jpg", ".hidden.png", "deep/c.webp"):
        Image.fromarray(texture(12, 16)).save(photos / name)
    (photos / "notes.txt").write_text("not a picture")
    return photos


def targets(inputs: list[Path], recursive: bool = False, **settings: Any) -> list[str]:
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


def enlarge(inputs: list[Path], scale: int = 4, weights: str = "bgai", **settings: Any) -> Plan:
    """Plan and do all of it."""
    upscaler = Upscaler(scale, weights, "openvino")
    given = OutputSettings(**settings)
    plan = batch.plan_jobs(inputs, scale, given, weights=lambda scale: used_weights(upscaler, scale))
    for job in plan.jobs:
        run_job(job, upscaler, given)
    return plan


def test_outputs_inside_the_input_are_not_inputs(folder: Path) -> None:
    enlarge([folder / "a.png"], out=folder / "out/a.png")
    plan = plan_jobs([folder], 4, OutputSettings(out=folder / "out"), recursive=True)
    assert [job.source.name for job in plan.jobs] == ["b.jpg", "c.webp"]
    assert [path.name for path in plan.finished] == ["a.png"]


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "tiff"])
def test_what_is_finished_is_not_done_again(format: str, folder: Path, tmp_path: Path) -> None:
    settings = OutputSettings(out=tmp_path / "out", format=format)
    assert len(enlarge([folder], out=tmp_path / "out", format=format).jobs) == 2
    again = plan_jobs([folder], 4, settings)
    assert (len(again.jobs), len(again.finished), again.failures) == (0, 2, [])
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = plan_jobs([folder], 4, OutputSettings(out=tmp_path / "moved", format=format))
    assert len(moved.finished) == 2
    named = plan_jobs([folder / "a.png"], 4, OutputSettings(out=moved.finished[0]))
    assert named.finished == [moved.finished[0]]


@pytest.mark.parametrize(
    ("later", "why"),
    [
        ({"scale": 2}, "was made at ×4"),
        ({"weights": "photo"}, "was made with other weights"),
        ({"quality": 80}, "was made with quality 95"),
    ],
)
def test_what_was_made_in_another_way_is_made_anew(
    later: dict[str, Any], why: str, folder: Path, tmp_path: Path
) -> None:
    """And a note says why; once it was changed by anything, it is kept."""
    out = tmp_path / "b.jpg"
    enlarge([folder / "b.jpg"], out=out)
    first = out.read_bytes()
    (job,) = enlarge([folder / "b.jpg"], out=out, **later).jobs
    assert job.replaces == why
    assert out.read_bytes() != first
    assert enlarge([folder / "b.jpg"], out=out, **later).finished == [out]
    out.write_bytes(first + b"edited")
    plan = enlarge([folder / "b.jpg"], out=out, **later)
    assert not plan.finished
    assert f"b.jpg: exists already, and {why}, and may have been changed since;" in str(plan.failures[0])
    assert plan.failures[0].parameter == "overwrite"
    assert out.read_bytes() == first + b"edited"
    (job,) = enlarge([folder / "b.jpg"], out=out, overwrite=True, **later).jobs
    assert job.replaces == why


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "tiff", "avif", "gif"])
def test_outputs_of_all_formats_know_whether_they_were_changed(format: str, folder: Path, tmp_path: Path) -> None:
    upscaler = Upscaler(2, "bgai", "openvino")
    settings = OutputSettings(out=tmp_path / "out", format=format)
    (job,) = batch.plan_jobs([folder / "a.png"], 2, settings, weights=lambda _: used_weights(upscaler, 2)).jobs
    run_job(job, upscaler, settings)
    (again,) = plan_jobs([folder / "a.png"], 3, OutputSettings(out=job.target)).jobs
    assert again.replaces == "was made at ×2"
    data = job.target.read_bytes()
    for at in (len(data) // 3, len(data) - 1):
        job.target.write_bytes(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])
        plan = plan_jobs([folder / "a.png"], 3, OutputSettings(out=job.target))
        assert "exists already" in str(plan.failures[0])


def test_an_output_that_was_changed_after_the_plan_is_kept(folder: Path) -> None:
    upscaler = Upscaler(2, "bgai", "openvino")
    out = folder / "b.png"
    enlarge([folder / "a.png"], out=out)
    settings = OutputSettings(out=out)
    (job,) = batch.plan_jobs([folder / "a.png"], 2, settings, weights=lambda _: used_weights(upscaler, 2)).jobs
    edited = out.read_bytes() + b"edited"
    out.write_bytes(edited)
    with pytest.raises(OutputError, match="exists already"):
        run_job(job, upscaler, settings)
    assert out.read_bytes() == edited


def test_an_output_of_another_picture_of_that_name_is_not_finished(folder: Path, tmp_path: Path) -> None:
    settings = OutputSettings(out=tmp_path / "out")
    enlarge([folder / "a.png"], out=tmp_path / "out/a.png")
    (tmp_path / "out/b.jpg").touch()
    Image.fromarray(texture(12, 16, seed=3)).save(folder / "a.png")
    plan = plan_jobs([folder], 4, settings)
    messages = [str(failure) for failure in plan.failures]
    assert f"a.png: exists already, and was made from another picture than {folder}/a.png;" in messages[0]
    assert "b.jpg: exists already, and does not say what made it" in messages[1]
    assert not plan.finished
    assert len(plan_jobs([folder], 4, OutputSettings(out=tmp_path / "out", overwrite=True)).jobs) == 2


def test_a_recipe_tells_nothing_about_the_original(folder: Path, tmp_path: Path) -> None:
    """But its size and a hash; an output that is enlarged again says what made itself alone."""
    enlarge([folder / "a.png"], 2, out=tmp_path / "b.png")
    enlarge([tmp_path / "b.png"], 2, out=tmp_path / "c.png")
    for source, output in ((folder / "a.png", tmp_path / "b.png"), (tmp_path / "b.png", tmp_path / "c.png")):
        data = source.read_bytes()
        recipe = read_recipe(output)
        assert recipe is not None
        assert recipe.source == f"{len(data)}-{hashlib.sha256(data).hexdigest()[:32]}"
        xmp = read_xmp(output)
        assert xmp is not None
        assert xmp.count(b"bgai:source") == 1
        assert b"photos" not in xmp


def test_a_refused_collision_stays_refused(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(texture(10, 20, seed=9)).save(folder / "b.png")
    for jobs, finished in ((2, 0), (0, 2)):
        plan = enlarge([folder], out=tmp_path / "out", format="png")
        assert (len(plan.jobs), len(plan.finished)) == (jobs, finished)
        assert "b.png: its output" in str(plan.failures[0])
        assert "would also be that of" in str(plan.failures[0])


def test_outputs_beside_their_originals_are_not_enlarged_again(folder: Path) -> None:
    """As a shell makes of `*.png` in a second call."""
    enlarge([folder / "a.png"])
    again = plan_jobs([folder / "a.png", folder / "a_x4.png"], 4, OutputSettings())
    assert (again.jobs, again.finished, again.failures) == ([], [folder / "a_x4.png"], [])
    assert len(plan_jobs([folder / "a_x4.png"], 4, OutputSettings()).jobs) == 1


def test_a_file_named_twice_is_enlarged_once(folder: Path, tmp_path: Path) -> None:
    names = [folder / "a.png", folder / "deep/../a.png", Path(os.path.relpath(folder / "a.png"))]
    plan = plan_jobs(names, 4, OutputSettings())
    assert (len(plan.jobs), plan.failures) == (1, [])
    plan = plan_jobs(names, 4, OutputSettings(out=tmp_path / "out"))
    assert (len(plan.jobs), plan.failures) == (1, [])


def test_names_that_differ_in_case_alone(folder: Path) -> None:
    if not (folder / "A.PNG").exists():
        pytest.skip("the file system tells such names apart")
    plan = plan_jobs([folder / "a.png", folder / "A.PNG"], 4, OutputSettings())
    assert (len(plan.jobs), plan.failures) == (1, [])
    plan = plan_jobs([folder / "b.jpg"], 4, OutputSettings(out=folder / "B.JPG", overwrite=True))
    assert "would replace an original" in str(plan.failures[0])
    Image.fromarray(texture(9, 9)).save(folder / "A.jpg")
    plan = plan_jobs([folder], 4, OutputSettings(format="webp"))
    assert "would also be that of" in str(plan.failures[0])


def test_what_another_process_made_meanwhile_is_no_failure(folder: Path) -> None:
    (job,) = plan_jobs([folder / "a.png"], 4, OutputSettings()).jobs
    upscaler = Upscaler(4, engine="openvino")
    first = run_job(job, upscaler, OutputSettings())
    assert first.notes == ()
    assert run_job(job, upscaler, OutputSettings()).notes == ("another process made the same output meanwhile",)
    job.target.write_bytes(b"another's")
    with pytest.raises(OutputError, match="exists already"):
        run_job(job, upscaler, OutputSettings())


def test_jfif_is_jpeg(folder: Path) -> None:
    (folder / "b.jpg").rename(folder / "b.jfif")
    (folder / "a.png").rename(folder / "a.jpe")
    assert [Path(target).name for target in targets([folder])] == ["a.jpg", "b.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems make such files in other ways")
def test_links_to_themselves_and_pipes_are_failures_of_their_own(folder: Path, tmp_path: Path) -> None:
    (folder / "self.png").symlink_to("self.png")
    (folder / "gone.png").symlink_to("nothing.png")
    os.mkfifo(folder / "pipe.png")
    plan = plan_jobs([folder], 4, OutputSettings())
    assert len(plan.jobs) == 2
    assert sorted(str(failure).split(": ")[0] for failure in plan.failures) == [
        f"{folder}/{name}.png" for name in ("gone", "pipe", "self")
    ]
    (tmp_path / "o.png").symlink_to("o.png")
    (failure,) = plan_jobs([folder / "a.png"], 4, OutputSettings(out=tmp_path / "o.png")).failures
    assert "o.png: exists already" in str(failure)
    (folder / "pipe_x4.png").touch()
    (failure,) = plan_jobs([folder / "pipe.png"], 4, OutputSettings()).failures
    assert "pipe.png: not a file but a pipe" in str(failure)


def test_a_folder_that_cannot_be_read_is_a_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused by a stand-in, as root may read everything."""
    scandir = os.scandir

    def refuse(path: Path) -> Any:
        if path == folder / "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    plan = plan_jobs([folder], 4, OutputSettings(), recursive=True)
    assert [job.source.name for job in plan.jobs] == ["a.png", "b.jpg"]
    assert [str(failure) for failure in plan.failures] == [f"{folder}/deep: cannot be read: Permission denied"]


def test_an_existing_file_in_the_way_of_a_named_one_is_an_error(folder: Path) -> None:
    (folder / "a_x4.png").touch()
    plan = plan_jobs([folder / "a.png"], 4, OutputSettings())
    assert "allow overwriting" in str(plan.failures[0])


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
    assert plan_jobs([tmp_path], 4, OutputSettings()).failures[0].parameter == "recursive"


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
        {"max_megapixels": 1e308},
        {"max_megapixels": float("nan")},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=re.escape(str(next(iter(wrong.values()))))):
        OutputSettings(**wrong)


def test_a_job_enlarges_and_leaves_the_original(folder: Path) -> None:
    before = hashlib.sha256((folder / "a.png").read_bytes()).digest()
    (job,) = plan_jobs([folder / "a.png"], 4, OutputSettings()).jobs
    upscaler = Upscaler(4, engine="openvino")
    calls: list[tuple[int, int]] = []
    assert run_job(job, upscaler, OutputSettings(), lambda *call: calls.append(call)) == EnlargedFile(
        job.target, "", ()
    )
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
    assert "no folder can lie beside it" in str(plan_jobs([Path("/")], 4, OutputSettings()).failures[0])


def test_a_name_that_is_no_utf8_is_a_name(folder: Path) -> None:
    try:
        (folder / "caf\udce9.png").write_bytes((folder / "a.png").read_bytes())
    except OSError:
        pytest.skip("the file system refuses such names")
    assert not enlarge([folder], 2).failures
    assert (folder.parent / "photos_x2/caf\udce9.png").stat().st_size


def test_a_name_and_a_format_that_disagree_are_refused() -> None:
    with pytest.raises(UsageError, match="does not agree with format jpeg"):
        OutputSettings(out=Path("a.png"), format="jpeg")
    assert OutputSettings(out=Path("a.jpeg"), format="jpg")


def test_one_strip_is_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They can be as large as the tiles' share of it."""
    Image.fromarray(texture(150, 40)).save(tmp_path / "a.png")
    written: list[weakref.ref[Pixels]] = []
    alive: list[bool] = []
    write = PictureWriter.write

    def note(writer: PictureWriter, rows: Pixels) -> None:
        written.append(weakref.ref(rows))
        write(writer, rows)

    monkeypatch.setattr(PictureWriter, "write", note)
    (job,) = plan_jobs([tmp_path / "a.png"], 4, OutputSettings()).jobs
    upscaler = Upscaler(engine="openvino", tile=64, halo=16)
    run_job(job, upscaler, OutputSettings(), lambda *_: alive.append(any(strip() is not None for strip in written)))
    assert len(written) > 2
    assert not any(alive)


def test_names_by_a_template(folder: Path, tmp_path: Path) -> None:
    assert targets([folder / "a.png"], name="{stem}@{scale}x") == [f"{folder}/a@4x.png"]
    named = targets([folder], True, out=tmp_path / "out", name="{width:03d}x{height}-{stem}", format="webp")
    assert named == [f"{tmp_path}/out/{name}" for name in ("064x48-a.webp", "064x48-b.webp", "deep/064x48-c.webp")]
    sized = targets([folder / "a.png"], name="{stem} {scale} {width}", size=TargetSize(width=40))
    assert sized == [f"{folder}/a 2.5 40.png"]
    (folder / "bad.png").write_text("no picture")
    plan = plan_jobs([folder], 4, OutputSettings(name="{stem}-{width}"))
    assert (len(plan.jobs), len(plan.failures)) == (2, 1)
    (failure,) = plan_jobs([folder / "a.png"], 4, OutputSettings(name="{stem}", out=tmp_path / "b.png")).failures
    assert "leave one of them out" in str(failure)
    (failure,) = plan_jobs([folder / "a.png"], 4, OutputSettings(name="{stem}", overwrite=True)).failures
    assert "would replace an original" in str(failure)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{stem}@{factor}x", r"\{factor\} is not known; expected \{stem\}, \{scale\}"),
        ("{stem.__class__}", "is not known"),
        ("{}", "is not known"),
        ("{stem", "expected one like"),
        ("{stem:d}", "expected one like"),
        ("../{stem}", "expected a name, not a path"),
        (" ", "expected a name, not a path"),
    ],
)
def test_names_that_are_no_template(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        OutputSettings(name=name)
    assert error.value.parameter == "name"


def test_dates_are_kept_on_request(folder: Path) -> None:
    os.utime(folder / "a.png", ns=(10**18, 10**18 + 5000))
    (job,) = plan_jobs([folder / "a.png"], 2, OutputSettings()).jobs
    upscaler = Upscaler(2, engine="openvino")
    run_job(job, upscaler, OutputSettings())
    assert job.target.stat().st_mtime_ns > 10**18 + 10**9
    run_job(job, upscaler, OutputSettings(overwrite=True, keep_dates=True))
    assert job.target.stat().st_mtime_ns == 10**18 + 5000


@pytest.mark.skipif(sys.platform == "win32", reason="no claims there")
def test_what_is_in_work_elsewhere_is_left_alone(folder: Path) -> None:
    (job,) = plan_jobs([folder / "a.png"], 2, OutputSettings()).jobs
    upscaler = Upscaler(2, engine="openvino")
    with claimed(job.target) as ours:
        assert ours
        with pytest.raises(InWorkError, match=r"a_x2\.png: another process makes it now"):
            run_job(job, upscaler, OutputSettings())
    assert run_job(job, upscaler, OutputSettings()).notes == ()
    assert sorted(path.name for path in folder.iterdir() if path.suffix == ".partial") == []


def test_another_size_is_another_output(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.jpg"
    enlarge([folder / "b.jpg"], out=out, size=TargetSize(factor=2.5))
    assert enlarge([folder / "b.jpg"], out=out, size=TargetSize(width=40)).finished == [out]
    (job,) = enlarge([folder / "b.jpg"], out=out, size=TargetSize(width=41)).jobs
    assert job.replaces == "was made at 40x30"
    (job,) = enlarge([folder / "b.jpg"], out=out).jobs
    assert job.replaces == "was made at 41x31"
    (folder / "big").mkdir()
    plan = plan_jobs([folder / "a.png"], 4, OutputSettings(out=folder / "big", size=TargetSize(width=10)))
    assert "a.png: 16 x 12 is more than the size asked for" in str(plan.failures[0])


def folder_of_sizes(folder: Path) -> list[Path]:
    folder.mkdir()
    for index, size in enumerate([(20, 30), (20, 30), (33, 17), (20, 30), (40, 24), (33, 17)]):
        Image.fromarray(texture(*size, seed=index)).save(folder / f"{index}.png")
    (folder / "2a.png").write_bytes((folder / "2.png").read_bytes()[:200])
    return sorted(folder.iterdir())


@pytest.mark.parametrize("together", [1, 3])
def test_pictures_in_work_together_get_their_own_pixels_in_order(together: int, tmp_path: Path) -> None:
    sources = folder_of_sizes(tmp_path / "in")
    damaged = tmp_path / "in/2a.png"
    settings = OutputSettings(tmp_path / "out")
    jobs = plan_jobs([tmp_path / "in"], 2, settings).jobs
    seen: set[Path] = set()
    upscaler = Upscaler(2, engine="openvino")
    outcomes = list(run_jobs(jobs, upscaler, settings, lambda job, _: seen.add(job.source), together=together))
    assert [outcome.job.source for outcome in outcomes] == sources
    assert seen == set(sources) - {damaged}
    alone = Upscaler(2, engine="openvino")
    for outcome in outcomes:
        if outcome.job.source == damaged:
            assert isinstance(outcome.result, ImageError)
            continue
        assert isinstance(outcome.result, EnlargedFile)
        expected = alone.upscale(np.asarray(Image.open(outcome.job.source)))
        np.testing.assert_array_equal(np.asarray(Image.open(outcome.job.target)), expected)


@pytest.mark.parametrize("large", [False, True])
def test_a_large_picture_is_in_work_alone(large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two small pictures meet in their callbacks, or would wait for ever."""
    folder_of_sizes(tmp_path / "in")
    monkeypatch.setattr(batch, "_TOGETHER_PIXELS", 0 if large else 10**6)
    settings = OutputSettings(tmp_path / "out")
    jobs = plan_jobs([tmp_path / "in/0.png", tmp_path / "in/1.png"], 2, settings).jobs
    begun = threading.Barrier(2, timeout=1 if large else 60)
    waited: list[bool] = []

    def read_together(*arguments: Any, **named: Any) -> Picture:
        with suppress(threading.BrokenBarrierError):
            begun.wait()
        waited.append(begun.broken)
        return read_picture(*arguments, **named)

    monkeypatch.setattr(pages, "read_picture", read_together)
    assert len(list(run_jobs(jobs, Upscaler(2, engine="openvino"), settings, together=2))) == 2
    assert waited == [large, large]


@pytest.mark.parametrize(("together", "releases"), [(1, 4), (2, 1)])
def test_memory_is_kept_for_the_next_picture(together: int, releases: int, tmp_path: Path) -> None:
    """Alone, a picture finds the memory free and leaves it free."""
    folder_of_sizes(tmp_path / "in")
    settings = OutputSettings(tmp_path / "out")
    jobs = plan_jobs([tmp_path / "in/0.png", tmp_path / "in/1.png"], 2, settings).jobs
    upscaler = Upscaler(2, engine="openvino")
    calls: list[str] = []
    release = upscaler.engine.release
    upscaler.engine.release = lambda: (calls.append("release"), release())[1]  # type: ignore[func-returns-value,method-assign]
    assert len(list(run_jobs(jobs, upscaler, settings, together=together))) == 2
    assert len(calls) == releases + (together == 1)
    assert not upscaler.sharing.keeps_memory
    assert not upscaler.sharing.turn.locked()


def test_what_stops_a_picture_stops_the_batch(tmp_path: Path) -> None:
    folder_of_sizes(tmp_path / "in")
    settings = OutputSettings(tmp_path / "out")
    jobs = plan_jobs([tmp_path / "in"], 2, settings).jobs
    upscaler = Upscaler(2, engine="openvino")

    def stop(job: Job, _: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_jobs(jobs, upscaler, settings, stop, together=3))
    assert not list((tmp_path / "out").glob("*.png"))
    assert not upscaler.sharing.turn.locked()
    assert upscaler.upscale(texture(8, 8)).shape == (16, 16, 3)
