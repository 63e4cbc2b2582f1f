"""Finding weights: shipped, downloaded and given."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from support import copied, save_repeating_graph, served_folder

import bgai.weights.sources
from bgai.errors import UsageError, WeightsError
from bgai.weights.download import Pinned
from bgai.weights.onnx_file import read_graph_metadata
from bgai.weights.sources import (
    DEFAULT_HALO,
    OFFICIAL,
    OFFICIAL_MIRRORS,
    find_weights,
    official_urls,
    shipped_scales,
)

CONTENT = b"a checkpoint, for the purposes of this test"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A mirror on this machine with one checkpoint, whose hash is the pinned one, and an empty cache."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "BGAI_x4.pth").write_bytes(CONTENT)
    monkeypatch.setenv("BGAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(OFFICIAL, 4, Pinned(len(CONTENT), hashlib.sha256(CONTENT).hexdigest()))
    with served_folder(folder) as url:
        monkeypatch.setenv("BGAI_OFFICIAL_URL", url)
        yield folder


def test_the_package_holds_all_scales() -> None:
    assert shipped_scales() == (2, 3, 4)
    for scale in shipped_scales():
        found = find_weights(None, scale)
        assert found.file.is_file()
        assert find_weights(found) is found


def test_without_a_scale_named_weights_are_for_four() -> None:
    assert find_weights("bgai") == find_weights(None, 4)


def test_scales_that_the_package_lacks_are_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bgai.weights.sources, "SHIPPED", tmp_path)
    (tmp_path / "bgai_x2.safetensors").touch()
    with pytest.raises(WeightsError, match="no bgai weights for ×3 yet, only ×2"):
        find_weights(None, 3)


def test_photo_weights_are_found_where_the_package_has_them(photo_weights: Path) -> None:
    assert shipped_scales("photo") == (4,)
    assert find_weights("photo").file == photo_weights / "photo_x4.safetensors"
    with pytest.raises(WeightsError, match="no photo weights for ×2 yet, only ×4"):
        find_weights("photo", 2)


def test_what_lies_between_names_both_files_and_its_ends_are_they(photo_weights: Path) -> None:
    half = find_weights(None, 4, clean=0.5)
    assert (half.file, half.other) == (find_weights("bgai", 4).file, find_weights("photo", 4).file)
    assert half.name == "bgai ×4, clean 0.5"
    assert find_weights(None, 4, clean=0) == find_weights("bgai", 4)
    assert find_weights(None, 4, clean=1) == find_weights("photo", 4)


@pytest.mark.parametrize("clean", [-0.1, 1.1, float("nan")])
def test_clean_has_a_range(clean: float, photo_weights: Path) -> None:
    with pytest.raises(UsageError, match="expected 0 to 1"):
        find_weights(None, 4, clean)


@pytest.mark.parametrize("weights", ["bgai", "photo", "official", "a.safetensors"])
def test_clean_takes_no_weights(weights: str) -> None:
    with pytest.raises(UsageError, match=f"leave out weights {weights}"):
        find_weights(weights, 4, clean=0.5)


def test_nothing_is_chosen_without_a_file() -> None:
    with pytest.raises(UsageError, match="name 'bgai' or 'photo' here"):
        find_weights("auto")


def test_unknown_scales_are_refused() -> None:
    with pytest.raises(UsageError, match="expected one of 2, 3 and 4"):
        find_weights(None, 5)


def test_files_are_told_apart_by_suffix(tmp_path: Path) -> None:
    copied(tmp_path / "a.safetensors")
    for name in ("a.pth", "a.onnx", "a.zip"):
        (tmp_path / name).touch()
    for suffix in (".safetensors", ".pth"):
        found = find_weights(tmp_path / f"a{suffix}")
        assert (found.file, found.is_graph, found.halo) == (tmp_path / f"a{suffix}", False, DEFAULT_HALO)
    assert find_weights(str(tmp_path / "a.onnx")).is_graph
    with pytest.raises(WeightsError, match=r"expected an \.onnx"):
        find_weights(tmp_path / "a.zip")
    with pytest.raises(WeightsError, match="no such file"):
        find_weights("offical")


def test_official_weights_are_downloaded_once(server: Path, tmp_path: Path) -> None:
    found = find_weights("official", 4).file
    assert found == tmp_path / "cache/official/BGAI_x4.pth"
    assert found.read_bytes() == CONTENT
    (server / "BGAI_x4.pth").unlink()
    assert find_weights("official", 4).file == found


def test_a_damaged_cache_is_fetched_anew(server: Path) -> None:
    found = find_weights("official", 4).file
    found.write_bytes(b"damaged")
    find_weights("official", 4)
    assert found.read_bytes() == CONTENT


def test_another_content_is_not_used(server: Path, tmp_path: Path) -> None:
    (server / "BGAI_x4.pth").write_bytes(CONTENT[::-1])
    with pytest.raises(WeightsError, match="is not the pinned"):
        find_weights("official", 4)
    assert not list((tmp_path / "cache").rglob("*"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense"])
def test_offline_is_one_clear_line(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BGAI_OFFICIAL_URL", url)
    monkeypatch.setenv("BGAI_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"download failed: .* name the file"):
        find_weights("official", 4)


def test_without_a_mirror_of_one_s_own_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BGAI_OFFICIAL_URL", raising=False)
    assert official_urls(2) == [f"{mirror}/BGAI_x2.pth" for mirror in OFFICIAL_MIRRORS]
    assert all(url.startswith("https://") for url in official_urls(2))
    monkeypatch.setenv("BGAI_OFFICIAL_URL", "https://a/b/ https://c")
    assert official_urls(2) == ["https://a/b/BGAI_x2.pth", "https://c/BGAI_x2.pth"]


def test_progress_is_told(server: Path) -> None:
    told: list[tuple[str, int, int]] = []
    find_weights("official", 4, progress=lambda *done: told.append(done))
    assert told == [("BGAI_x4.pth", len(CONTENT), len(CONTENT))]
    find_weights("official", 4, progress=lambda *done: told.append(done))
    assert len(told) == 1


def test_a_file_that_the_mirror_lacks(server: Path) -> None:
    with pytest.raises(WeightsError, match="File not found"):
        find_weights("official", 2)


@pytest.mark.parametrize("name", ["bgai", "photo"])
def test_weights_say_their_halo(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bgai.weights.sources, "SHIPPED", tmp_path)
    with pytest.raises(WeightsError, match=f"holds no {name} weights for ×2 yet; use"):
        find_weights(name, 2)
    file = tmp_path / f"{name}_x2.safetensors"
    for said, halo in (({}, DEFAULT_HALO), ({"halo": "24"}, 24), ({"halo": "0"}, 0)):
        copied(file, **said)
        found = find_weights(name, 2)
        assert (found.name, found.file, found.halo) == (f"{name} ×2", file, halo)
    assert find_weights(file).halo == 0
    for wrong in ("41", "-8", "x", "", "8.0", "264", "9" * 5000):
        copied(file, halo=wrong)
        with pytest.raises(WeightsError, match=r"its metadata says halo .*; expected a multiple of 8 up to 256"):
            find_weights(file)


@pytest.mark.parametrize("name", ["bgai", "photo"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_halo_lies_in_the_file(name: str, scale: int, tmp_path: Path) -> None:
    shipped = find_weights(name, scale)
    elsewhere = find_weights(shutil.copy(shipped.file, tmp_path))
    assert elsewhere.halo == shipped.halo < DEFAULT_HALO


def test_a_graph_says_its_halo(tmp_path: Path) -> None:
    save_repeating_graph(tmp_path / "a.onnx", 0)
    assert find_weights(tmp_path / "a.onnx").halo == DEFAULT_HALO
    graph = onnx.load(tmp_path / "a.onnx")
    onnx.helper.set_model_props(graph, {"scale": "2", "halo": "16", "author": "ä", "empty": ""})
    onnx.save(graph, tmp_path / "b.onnx")
    assert read_graph_metadata(tmp_path / "b.onnx") == {"scale": "2", "halo": "16", "author": "ä", "empty": ""}
    assert find_weights(tmp_path / "b.onnx").halo == 16
    content = (tmp_path / "b.onnx").read_bytes()
    for length in range(0, len(content), 7):
        (tmp_path / "c.onnx").write_bytes(content[:length])
        read_graph_metadata(tmp_path / "c.onnx")
    (tmp_path / "c.onnx").write_bytes(b"\xff" * 100)
    assert read_graph_metadata(tmp_path / "c.onnx") == {}


def test_what_is_pinned_are_the_released_files(shared: Path) -> None:
    for scale, pinned in OFFICIAL.items():
        assert pinned.is_in((shared / f"weights/official/BGAI_x{scale}.pth").read_bytes())
