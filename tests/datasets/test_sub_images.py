"""Sub-images: where they are cut and from what, what is refused, and what a stopped or repeated call does."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support import texture

import bgai.datasets.sub_images
from bgai.datasets.lmdb_store import LmdbImages
from bgai.datasets.matlab_resize import imresize
from bgai.datasets.pairs import FolderImages
from bgai.datasets.sub_images import Prepared, PrepareSettings, prepare, sub_image_name, sub_image_starts
from bgai.errors import ImageError, OutputError, UsageError
from bgai.pictures.reading import read_rgb8

# 48 x 48 with step 24, as the recipe's 480 x 480 with step 240.
SIZES = {"0001": (96, 120), "0002": (60, 106), "0003": (48, 40)}
CUT = {"0001": (96, 120), "0002": (60, 96), "0003": (48, 36)}
TOPS = {"0001": [0, 24, 48], "0002": [0, 12], "0003": [0]}
LEFTS = {"0001": [0, 24, 48, 72], "0002": [0, 24, 48], "0003": [0]}


@pytest.fixture
def hr(tmp_path: Path) -> Path:
    """data/set_HR with one image that needs no care, one that needs cutting, and one smaller than a sub-image."""
    folder = tmp_path / "data/set_HR"
    folder.mkdir(parents=True)
    for seed, (name, size) in enumerate(SIZES.items()):
        Image.fromarray(texture(*size, seed=seed)).save(folder / f"{name}.png")
    (folder / "readme.txt").write_text("no picture")
    return folder


def settings(hr: Path, **changes: Any) -> PrepareSettings:
    return PrepareSettings(hr, **{"crop": 48, "step": 24, "workers": 2, **changes})


def run(hr: Path, **changes: Any) -> Prepared:
    return prepare(settings(hr, **changes))


def give_lr(hr: Path, scale: int, size: tuple[int, int] | None = None) -> Path:
    """LR images such as DIV2K's: named 0001x2.png and so on, of other content than `imresize` would give."""
    folder = hr.with_name("set_LR_bicubic") / f"X{scale}"
    folder.mkdir(parents=True)
    for seed, (name, (height, width)) in enumerate(SIZES.items()):
        lr_height, lr_width = size or (height // scale, width // scale)
        lr = texture(lr_height, lr_width, seed=seed + 10)
        Image.fromarray(lr).save(folder / f"{name}x{scale}.png")
    return folder


def expected(name: str, scale: int, image: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """Sub-images of a whole image at a scale, by file name, from the tables above."""
    side = 48 // scale
    corners = [(top // scale, left // scale) for top in TOPS[name] for left in LEFTS[name]]
    return {
        f"{name}_s{number:03d}.png": image[top : top + side, left : left + side]
        for number, (top, left) in enumerate(corners, 1)
    }


def assert_holds(folder: Path, images: dict[str, NDArray[np.uint8]], scale: int) -> None:
    """The folder holds the sub-images of these whole images and nothing else but the record."""
    wanted = {file: pixels for name in images for file, pixels in expected(name, scale, images[name]).items()}
    assert {path.name for path in folder.iterdir()} - {bgai.datasets.sub_images.RECORD} == set(wanted)
    for file, pixels in wanted.items():
        np.testing.assert_array_equal(np.array(Image.open(folder / file)), pixels, err_msg=f"{folder.name}/{file}")


def whole(hr: Path) -> dict[str, NDArray[np.uint8]]:
    """HR images, cut to multiples of 12."""
    return {name: np.array(Image.open(hr / f"{name}.png"))[:height, :width] for name, (height, width) in CUT.items()}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder with what changes when it is written again."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def test_hr_is_cut_row_by_row_and_lr_is_made_from_it(hr: Path) -> None:
    result = run(hr)
    lr = hr.with_name("set_LR_bicubic")
    assert result.folders == (hr.with_name("set_HR_sub"), *(lr / f"X{scale}_sub" for scale in (2, 3, 4)))
    assert (result.cut, result.finished, result.failures) == (3, 0, ())
    assert_holds(result.folders[0], whole(hr), 1)
    for scale in (2, 3, 4):
        shrunk = {name: imresize(image, 1 / scale) for name, image in whole(hr).items()}
        assert_holds(lr / f"X{scale}_sub", shrunk, scale)
    assert {path.name for path in hr.parent.iterdir()} == {"set_HR", "set_HR_sub", "set_LR_bicubic"}


def test_given_lr_is_cut_and_the_rest_made(hr: Path) -> None:
    folder = give_lr(hr, 3)
    run(hr)
    given = {
        name: np.array(Image.open(folder / f"{name}x3.png"))[: height // 3, : width // 3]
        for name, (height, width) in CUT.items()
    }
    assert_holds(hr.with_name("set_LR_bicubic") / "X3_sub", given, 3)
    made = {name: imresize(image, 1 / 2) for name, image in whole(hr).items()}
    assert_holds(hr.with_name("set_LR_bicubic") / "X2_sub", made, 2)


def test_lr_may_be_rounded_up_and_named_as_hr(hr: Path, tmp_path: Path) -> None:
    (tmp_path / "lr/X4").mkdir(parents=True)
    for path in hr.glob("*.png"):
        Image.fromarray(imresize(read_rgb8(path), 1 / 4)).save(tmp_path / "lr/X4" / path.name)
    assert Image.open(tmp_path / "lr/X4/0002.png").size == (27, 15)
    run(hr, scales=(4,), lr=tmp_path / "lr", output=tmp_path / "out")
    sub = tmp_path / "out/set_LR_bicubic/X4_sub"
    np.testing.assert_array_equal(read_rgb8(sub / "0002_s001.png"), read_rgb8(tmp_path / "lr/X4/0002.png")[:12, :12])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"set_HR_sub", "set_LR_bicubic"}


def test_hr_is_cut_to_multiples_of_the_scales_asked_for_alone(hr: Path) -> None:
    run(hr, scales=(2,))
    # 106 is even: three steps and one more at 58, where cutting to 96 leaves three.
    names = sorted(path.name for path in hr.with_name("set_HR_sub").glob("0002*"))
    assert len(names) == 8
    pixels = read_rgb8(hr / "0002.png")
    np.testing.assert_array_equal(read_rgb8(hr.with_name("set_HR_sub") / names[-1]), pixels[12:60, 58:106])


def test_any_picture_becomes_rgb_png(hr: Path) -> None:
    shutil.rmtree(hr)
    hr.mkdir()
    Image.fromarray(texture(48, 48)[..., 0]).save(hr / "grey.PNG")
    Image.fromarray(texture(48, 48)).save(hr / "photo.jpg")
    run(hr, scales=(2,))
    for name in ("grey.PNG", "photo.jpg"):
        with Image.open(hr.with_name("set_HR_sub") / f"{Path(name).stem}_s001.png") as image:
            assert (image.format, image.mode) == ("PNG", "RGB")
            np.testing.assert_array_equal(np.array(image), read_rgb8(hr / name))


def test_a_folder_of_another_name_and_the_current_folder(hr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = hr.rename(hr.with_name("photos"))
    monkeypatch.chdir(photos)
    result = run(Path(), scales=(2,))
    assert [path.relative_to(photos.parent).as_posix() for path in result.folders] == [
        "photos_sub",
        "photos_LR_bicubic/X2_sub",
    ]


@pytest.mark.parametrize(
    ("stem", "name"),
    [("0001x2", "0001"), ("0001x8", "0001"), ("a_x4_b", "a_x4_b"), ("ax2160", "ax2160")],
)
def test_names_lose_the_scale_at_their_end(stem: str, name: str) -> None:
    assert sub_image_name(stem) == name


def test_the_recipe_gives_a_photograph_of_div2k_forty_sub_images() -> None:
    assert sub_image_starts(2040, 480, 240) == [0, 240, 480, 720, 960, 1200, 1440, 1560]
    assert sub_image_starts(1356, 480, 240) == [0, 240, 480, 720, 876]
    assert sub_image_starts(960, 480, 240) == [0, 240, 480]
    assert sub_image_starts(480, 480, 240) == sub_image_starts(100, 480, 240) == [0]


def test_progress_counts_images_and_then_packing(hr: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    prepare(settings(hr, scales=(2,), lmdb=True), lambda *call: calls.append(call))
    assert calls[:3] == [("set_HR", done, 3) for done in (1, 2, 3)]
    assert calls[-1] == ("set_LR_bicubic_X2_sub.lmdb", 21, 21)


def test_no_more_images_are_decoded_at_a_time_than_workers(hr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        shutil.copy(hr / "0003.png", hr / f"more{number}.png")
    working, most, lock = 0, 0, threading.Lock()
    cut = bgai.datasets.sub_images._cut

    def counted(*arguments: Any) -> None:
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        cut(*arguments)
        with lock:
            working -= 1

    monkeypatch.setattr(bgai.datasets.sub_images, "_cut", counted)
    run(hr, workers=3)
    assert 1 < most <= 3


def test_a_finished_folder_is_left_alone(hr: Path) -> None:
    run(hr, lmdb=True)
    before = snapshot(hr.parent)
    result = run(hr, lmdb=True)
    assert (result.cut, result.finished) == (0, 3)
    assert len(result.folders) == 8
    assert snapshot(hr.parent) == before


def test_a_stopped_call_goes_on_where_it_was(hr: Path, tmp_path: Path) -> None:
    run(hr, output=tmp_path / "whole")

    def stop(name: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(settings(hr, workers=1), stop)
    kept = snapshot(hr.with_name("set_HR_sub"))
    assert 0 < len(kept) < 20
    calls: list[tuple[int, int]] = []
    result = prepare(settings(hr), lambda name, done, total: calls.append((done, total)))
    assert result.cut == 3 - result.finished < 3
    assert calls == [(done, 3) for done in range(result.finished + 1, 4)]
    after = snapshot(hr.with_name("set_HR_sub"))
    assert all(after[name] == kept[name] for name in kept if name.endswith(".png"))
    assert_same_images(tmp_path / "whole", hr.parent)


def assert_same_images(one: Path, other: Path) -> None:
    images = sorted(path.relative_to(one) for path in one.rglob("*_s*.png"))
    assert images
    assert images == sorted(path.relative_to(other) for path in other.rglob("*_s*.png"))
    assert all((one / path).read_bytes() == (other / path).read_bytes() for path in images)


def test_deleted_outputs_and_leftovers_are_made_good(hr: Path, tmp_path: Path) -> None:
    run(hr, output=tmp_path / "whole")
    run(hr)
    before = snapshot(hr.parent)
    lr = hr.with_name("set_LR_bicubic")
    (lr / "X3_sub/0001_s002.png").unlink()
    leftover = lr / "X3_sub/.bgai-0.partial"
    leftover.write_text("half")
    result = run(hr)
    assert (result.cut, result.finished) == (1, 2)
    assert not leftover.exists()
    assert_same_images(tmp_path / "whole", hr.parent)
    written = {name for name, state in snapshot(hr.parent).items() if before.get(name) != state}
    assert {name for name in written if name.endswith(".png")} == {
        f"set_LR_bicubic/X3_sub/0001_s{number:03d}.png" for number in range(1, 13)
    }


def test_new_images_are_added(hr: Path) -> None:
    run(hr)
    shutil.copy(hr / "0003.png", hr / "0004.png")
    result = run(hr)
    assert (result.cut, result.finished) == (1, 3)


def change_step(hr: Path) -> PrepareSettings:
    return settings(hr, step=36)


def change_scales(hr: Path) -> PrepareSettings:
    return settings(hr, scales=(2,))


def change_source(hr: Path) -> PrepareSettings:
    os.utime(hr / "0002.png", (1, 1))
    return settings(hr)


def remove_source(hr: Path) -> PrepareSettings:
    (hr / "0002.png").unlink()
    return settings(hr)


def give_other_lr(hr: Path) -> PrepareSettings:
    give_lr(hr, 4)
    return settings(hr)


def lose_record(hr: Path) -> PrepareSettings:
    (hr.with_name("set_HR_sub") / bgai.datasets.sub_images.RECORD).write_text("[]")
    return settings(hr)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_step, "set_HR_sub: was made with step: 24, not 36; remove it"),
        (change_scales, "set_HR_sub: was made with sides cut to multiples of: 12, not 2; remove it"),
        (change_source, r"set_HR_sub: was made from other files: 0002\.png changed or gone; remove it"),
        (remove_source, r"set_HR_sub: was made from other files: 0002\.png changed or gone; remove it"),
        (give_other_lr, "X4_sub: was made with images: made from HR, not given; remove it"),
        (lose_record, "set_HR_sub: is not empty, and not what bgai prepare made; remove it"),
    ],
)
def test_nothing_else_is_mixed_into_an_output_folder(
    change: Callable[[Path], PrepareSettings], message: str, hr: Path
) -> None:
    run(hr)
    changed = change(hr)
    before = snapshot(hr.parent)
    with pytest.raises(OutputError, match=message):
        prepare(changed)
    assert snapshot(hr.parent) == before


def test_a_damaged_image_does_not_stop_the_others(hr: Path) -> None:
    good = (hr / "0001.png").read_bytes()
    (hr / "0001.png").write_bytes(good[: len(good) // 2])
    (hr / "0000.png").write_text("no picture")
    result = run(hr, lmdb=True)
    assert (result.cut, result.finished) == (2, 0)
    assert [str(failure).split(": ")[0] for failure in result.failures] == [f"{hr}/0000.png", f"{hr}/0001.png"]
    assert {path.name[:4] for path in hr.parent.rglob("*_s*.png")} == {"0002", "0003"}
    assert not list(hr.parent.glob("*.lmdb"))
    (hr / "0001.png").write_bytes(good)
    (hr / "0000.png").unlink()
    result = run(hr, lmdb=True)
    assert (result.cut, result.finished, result.failures) == (1, 2, ())
    assert len(list(hr.parent.glob("*.lmdb"))) == 4


def test_damaged_lr_leaves_no_hr_without_it(hr: Path) -> None:
    lr = give_lr(hr, 4) / "0001x4.png"
    lr.write_bytes(lr.read_bytes()[:-200])
    result = run(hr)
    assert str(result.failures[0]).startswith(f"{lr}: damaged")
    assert not list(hr.parent.rglob("0001_s*.png"))


def test_a_full_disk_stops_the_call(hr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(pixels: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bgai.datasets.sub_images, "encode_png", full)
    with pytest.raises(OutputError, match=r"_s001\.png: cannot be written: No space left"):
        run(hr)
    assert not list(hr.parent.rglob("*.partial"))


@pytest.mark.parametrize("twins", ["0001.jpg and 0001.png", "0001.png and 0001x2.png"])
def test_two_images_of_one_name_are_refused(twins: str, hr: Path) -> None:
    for name in twins.split(" and "):
        Image.fromarray(texture(48, 48)).save(hr / name)
    with pytest.raises(ImageError, match=f"set_HR: sub-images would have the same names: {twins}; rename"):
        run(hr)
    assert list(hr.parent.iterdir()) == [hr]


def test_missing_lr_is_named_at_once(hr: Path) -> None:
    give_lr(hr, 2)
    (give_lr(hr, 3) / "0002x3.png").unlink()
    for number in range(10, 21):
        shutil.copy(hr / "0003.png", hr / f"00{number}.png")
    before = snapshot(hr.parent)
    with pytest.raises(ImageError) as error:
        run(hr)
    named = str(error.value).removeprefix(f"{hr}: no LR image for ")
    assert named.startswith("0010.png at ×2, 0011.png at ×2, ")
    assert named.count(".png") == 10
    assert named.endswith(" and 13 more")
    assert snapshot(hr.parent) == before


def test_lr_of_another_size_is_refused_with_both_sizes(hr: Path) -> None:
    folder = give_lr(hr, 2, size=(30, 53))
    with pytest.raises(ImageError) as error:
        run(hr)
    problems = str(error.value).split("; ")
    assert problems[0] == f"{folder}/0001x2.png is 53 x 30, expected 60 x 48 for {hr}/0001.png of 120 x 96"
    assert len(problems) == 2
    assert not hr.with_name("set_HR_sub").exists()


def test_what_cannot_be_cut_is_one_clear_line(hr: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"/no: no such folder"):
        run(tmp_path / "no")
    with pytest.raises(ImageError, match=r"/no/X2: no such folder"):
        run(hr, lr=tmp_path / "no")
    (tmp_path / "none").mkdir()
    with pytest.raises(ImageError, match="none: no pictures"):
        run(tmp_path / "none")
    Image.fromarray(texture(11, 50)).save(hr / "tiny.png")
    with pytest.raises(ImageError, match=r"tiny\.png is 50 x 11, too small for all scales: expected 12"):
        run(hr)


@pytest.mark.parametrize(
    "wrong", [{"crop": 50}, {"step": 6}, {"step": 0}, {"crop": -12}, {"workers": 0}, {"scales": (2, 8)}]
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected"):
        PrepareSettings(tmp_path, **wrong)


def test_stores_are_packed_beside_the_folders(hr: Path, tmp_path: Path) -> None:
    result = run(hr, lmdb=True, output=tmp_path / "out")
    lr_stores = [tmp_path / f"out/set_LR_bicubic_X{scale}_sub.lmdb" for scale in (2, 3, 4)]
    assert list(result.folders[4:]) == [tmp_path / "out/set_HR_sub.lmdb", *lr_stores]
    for folder, store in zip(result.folders[:4], result.folders[4:], strict=True):
        images = LmdbImages(store)
        assert list(images.keys) == sorted(path.stem for path in folder.glob("*.png"))
        assert len(images.keys) == 19
        np.testing.assert_array_equal(images.read("0002_s005"), read_rgb8(folder / "0002_s005.png"))


def test_a_store_of_other_images_is_refused_before_anything_is_cut(hr: Path) -> None:
    run(hr, lmdb=True)
    shutil.copy(hr / "0003.png", hr / "0004.png")
    before = snapshot(hr.parent)
    with pytest.raises(OutputError, match=r"set_HR_sub\.lmdb: was packed from other images; remove it"):
        run(hr, lmdb=True)
    assert snapshot(hr.parent) == before


def test_the_record_says_what_was_made_of_what(hr: Path) -> None:
    run(hr, scales=(2,))
    record = json.loads((hr.with_name("set_HR_sub") / bgai.datasets.sub_images.RECORD).read_text())
    state = (hr / "0001.png").stat()
    assert record["sources"]["0001.png"] == [state.st_size, state.st_mtime_ns]
    assert (record["crop"], record["step"], record["scale"]) == (48, 24, 1)


def test_images_of_one_name_in_several_folders_are_kept_apart(hr: Path) -> None:
    for folder, seed in (("a", 20), ("a/b", 21)):
        (hr / folder).mkdir()
        Image.fromarray(texture(96, 120, seed=seed)).save(hr / folder / "0001.png")
    (hr / ".hidden").mkdir()
    Image.fromarray(texture(96, 120)).save(hr / ".hidden/0001.png")
    folders = run(hr, scales=(2,), lmdb=True).folders
    for name in ("0001", "a/0001", "a/b/0001"):
        image = np.array(Image.open(hr / f"{name}.png"))
        for made, scale, pixels in ((folders[0], 1, image), (folders[1], 2, imresize(image, 1 / 2))):
            for file, square in expected("0001", scale, pixels).items():
                place = (Path(name).parent / file).as_posix()
                np.testing.assert_array_equal(read_rgb8(made / place), square)
                store = LmdbImages(folders[1 + scale])
                np.testing.assert_array_equal(store.read(place.removesuffix(".png")), square)
    assert list(FolderImages(folders[0]).keys) == list(LmdbImages(folders[2]).keys)
    before = snapshot(hr.parent)
    assert run(hr, scales=(2,), lmdb=True).finished == 5
    assert snapshot(hr.parent) == before


def test_what_a_call_made_within_the_folder_is_not_cut_again(hr: Path) -> None:
    assert run(hr, output=hr / "prepared", scales=(2,)).cut == 3
    again = run(hr, output=hr / "prepared", scales=(2,))
    assert (again.cut, again.finished) == (0, 3)
