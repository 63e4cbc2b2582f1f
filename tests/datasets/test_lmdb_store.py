"""LMDB stores: what other readers find in them, reading in several processes, and damage."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image
from support import texture

from bgai.datasets.lmdb_store import LmdbImages, pack_lmdb
from bgai.errors import EngineError, ImageError, OutputError, UsageError
from bgai.pictures.reading import read_rgb8
from bgai.pictures.writing import encode_png

NAMES = ("a", "a-b", "ä c")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.png, a-b.png (grey), ä c.png, and files that are not to be packed."""
    images = tmp_path / "images"
    images.mkdir()
    for seed, name in enumerate(NAMES):
        pixels = texture(20 + seed, 30, seed=seed)
        Image.fromarray(pixels[..., 0] if name == "a-b" else pixels).save(images / f"{name}.png")
    for other in (".hidden.png", "notes.txt", "photo.jpg"):
        (images / other).write_text("not packed")
    return images


@pytest.fixture
def store(folder: Path) -> Path:
    pack_lmdb(folder, folder.with_name("images.lmdb"))
    return folder.with_name("images.lmdb")


def test_another_reader_finds_the_files_by_name_and_the_list(folder: Path, store: Path) -> None:
    assert {path.name for path in store.iterdir()} == {"data.mdb", "lock.mdb", "meta_info.txt"}
    with lmdb.open(str(store), readonly=True, lock=False) as environment, environment.begin() as transaction:
        found = dict(transaction.cursor())
    assert found == {name.encode(): (folder / f"{name}.png").read_bytes() for name in NAMES}
    lines = (store / "meta_info.txt").read_text(encoding="utf-8").splitlines()
    assert lines == ["a-b.png (21,30,1) 3", "a.png (20,30,3) 3", "ä c.png (22,30,3) 3"]


def test_images_come_back_as_from_their_files(folder: Path, store: Path) -> None:
    images = LmdbImages(store)
    assert images.keys == ("a-b", "a", "ä c")
    for key in images.keys:
        pixels = images.read(key)
        assert pixels.shape[2] == 3
        np.testing.assert_array_equal(pixels, read_rgb8(folder / f"{key}.png"))


def test_two_readers_and_threads_share_a_store(store: Path) -> None:
    readers = [LmdbImages(store), LmdbImages(store)]
    with ThreadPoolExecutor(4) as executor:
        shapes = list(executor.map(lambda index: readers[index % 2].read("a").shape, range(16)))
    assert set(shapes) == {(20, 30, 3)}


def child(images: LmdbImages, queue: multiprocessing.Queue[int]) -> None:
    queue.put(int(images.read("a").sum()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_reads_what_its_parent_reads(store: Path) -> None:
    images = LmdbImages(store)
    expected = int(images.read("a").sum())
    encode_png(texture(600, 600))  # starts threads of libvips, which the child will not have
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(images, queue), daemon=True)
    process.start()
    assert queue.get(timeout=300) == expected
    process.join()
    assert int(images.read("a").sum()) == expected


def test_another_process_reads_a_copy(store: Path) -> None:
    images = LmdbImages(store)
    expected = int(images.read("a").sum())
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).read('a').sum())"
    result = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(images), capture_output=True, check=True)
    assert int(result.stdout) == expected


def test_the_map_holds_many_small_and_few_large_images(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    small = encode_png(texture(4, 4))
    (images / "large.png").write_bytes(small + bytes(2**24))  # what follows a PNG's end is no part of the image
    for number in range(300):
        (images / f"{'long' * 50}{number}.png").write_bytes(small + bytes(2100))  # just too long to share a page
    pack_lmdb(images, tmp_path / "x.lmdb")
    reader = LmdbImages(tmp_path / "x.lmdb")
    assert len(reader.keys) == 301
    for key in ("large", "long" * 50 + "299"):
        np.testing.assert_array_equal(reader.read(key), texture(4, 4))


def test_a_store_appears_whole_or_not_at_all(folder: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        assert total == 3
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_lmdb(folder, tmp_path / "x.lmdb", stop)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_leftovers_of_a_killed_process_are_replaced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".bgai-0.partial").touch()
    (tmp_path / ".bgai-0.folder").mkdir()
    (tmp_path / ".bgai-0.folder/data.mdb").write_text("half")
    pack_lmdb(folder, tmp_path / "x.lmdb")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "x.lmdb"]
    assert LmdbImages(tmp_path / "x.lmdb").read("a").shape == (20, 30, 3)


def test_what_cannot_be_packed_is_refused(folder: Path, store: Path, tmp_path: Path) -> None:
    before = (store / "data.mdb").read_bytes()
    with pytest.raises(OutputError, match=r"images\.lmdb: exists already; remove it"):
        pack_lmdb(folder, store)
    assert (store / "data.mdb").read_bytes() == before
    with pytest.raises(UsageError, match=r"ends in \.lmdb"):
        pack_lmdb(folder, tmp_path / "x")
    (tmp_path / "none").mkdir()
    with pytest.raises(ImageError, match="none: no PNG images"):
        pack_lmdb(tmp_path / "none", tmp_path / "x.lmdb")
    (folder / "b.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"b\.png: not a picture"):
        pack_lmdb(folder, tmp_path / "x.lmdb")
    assert not (tmp_path / "x.lmdb").exists()


def test_what_is_not_there_is_an_error(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no\.lmdb: not an LMDB store"):
        LmdbImages(tmp_path / "no.lmdb")
    with pytest.raises(ImageError, match=r"images\.lmdb: has no image 'z'"):
        LmdbImages(store).read("z")
    with (store / "meta_info.txt").open("a") as file:
        file.write("z.png 20\n")
    with pytest.raises(ImageError, match=r"line 4 is 'z\.png 20'; expected"):
        LmdbImages(store)


def shorten(data: Path) -> None:
    os.truncate(data, data.stat().st_size - 8192)


def overwrite(data: Path) -> None:
    data.write_bytes(b"x" * data.stat().st_size)


@pytest.mark.parametrize(
    ("damage", "message"),
    [(Path.unlink, "missing or damaged"), (overwrite, "missing or damaged"), (shorten, "cut short: data.mdb has")],
)
def test_a_damaged_store_is_an_error(damage: Callable[[Path], None], message: str, store: Path) -> None:
    images = LmdbImages(store)
    damage(store / "data.mdb")
    with pytest.raises(ImageError, match=rf"images\.lmdb: {message}"):
        images.read("a")


def test_a_damaged_image_is_named(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(whole[: len(whole) // 2])
    pack_lmdb(folder, tmp_path / "x.lmdb")
    with pytest.raises(ImageError, match=r"x\.lmdb: a: damaged or cut short"):
        LmdbImages(tmp_path / "x.lmdb").read("a")


def test_without_lmdb_the_extra_is_named(folder: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(EngineError, match=r"pip install 'bgai\[train\]'"):
        LmdbImages(store)
    with pytest.raises(EngineError, match=r"pip install 'bgai\[train\]'"):
        pack_lmdb(folder, folder.with_name("x.lmdb"))
