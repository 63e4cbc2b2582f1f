from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import texture

from bgai.cluster.picture import enlarge_picture
from bgai.errors import BgaiError, OutputError
from bgai.remote_files import AnyPath, RemotePath, download, list_folder, parse_path, upload
from bgai.upscaling.batch import NamedPicture, OutputSettings, name_outputs
from bgai.upscaling.files import upscale_file
from bgai.upscaling.upscaler import Upscaler


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return Upscaler(2, "bgai")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[RemotePath]:
    """A folder elsewhere with `a.png` and `inner/b.png`, and one that is no picture."""
    fsspec = pytest.importorskip("fsspec")
    folder = parse_path("memory://pictures")
    assert isinstance(folder, RemotePath)
    for number, name in enumerate(("a.png", "inner/b.png")):
        Image.fromarray(texture(20, 24, seed=number)).save(tmp_path / "picture.png")
        upload(tmp_path / "picture.png", folder / name, overwrite=False)
    (tmp_path / "broken.png").write_text("no picture")
    upload(tmp_path / "broken.png", folder / "broken.png", overwrite=False)
    yield folder
    fsspec.filesystem("memory").rm("/", recursive=True)


def names(inputs: list[AnyPath], settings: OutputSettings, recursive: bool = False) -> list[tuple[str, str]]:
    pictures, _ = name_outputs(inputs, 2, settings, recursive)
    return [(str(picture.source), str(picture.target)) for picture in pictures]


def test_names_are_those_of_local_pictures(memory: RemotePath, tmp_path: Path) -> None:
    assert names([memory], OutputSettings()) == [
        ("memory://pictures/a.png", "memory://pictures_x2/a.png"),
        ("memory://pictures/broken.png", "memory://pictures_x2/broken.png"),
    ]
    assert names([memory], OutputSettings(tmp_path, format="webp"), recursive=True) == [
        ("memory://pictures/a.png", str(tmp_path / "a.webp")),
        ("memory://pictures/broken.png", str(tmp_path / "broken.webp")),
        ("memory://pictures/inner/b.png", str(tmp_path / "inner/b.webp")),
    ]
    assert names([memory / "a.png"], OutputSettings()) == [("memory://pictures/a.png", "memory://pictures/a_x2.png")]
    assert names([memory / "a.png"], OutputSettings(memory / "big.jpg")) == [
        ("memory://pictures/a.png", "memory://pictures/big.jpg")
    ]
    assert names([memory / "a.png"], OutputSettings(memory, name="{stem}@{scale}x-{width}")) == [
        ("memory://pictures/a.png", "memory://pictures/a@2x-48.png")
    ]


def test_two_pictures_with_one_output(memory: RemotePath) -> None:
    inputs: list[AnyPath] = [memory / "a.png", memory / "inner/a.png", memory / "a.png"]
    pictures, failures = name_outputs(inputs, 2, OutputSettings(memory / "out"))
    assert [str(picture.source) for picture in pictures] == ["memory://pictures/a.png"]
    assert [str(failure) for failure in failures] == [
        "memory://pictures/inner/a.png: its output memory://pictures/out/a_x2.png would also be that of"
        " memory://pictures/a.png"
    ]


def test_originals_elsewhere_are_never_replaced(memory: RemotePath) -> None:
    pictures, failures = name_outputs([memory], 2, OutputSettings(memory, overwrite=True))
    assert not pictures
    assert "would replace an original" in str(failures[0])


def test_outputs_are_those_of_local_pictures(memory: RemotePath, tmp_path: Path, upscaler: Upscaler) -> None:
    download(memory / "a.png", tmp_path / "a.png")
    upscale_file(tmp_path / "a.png", tmp_path / "expected.png", upscaler=upscaler)
    outcome = enlarge_picture(NamedPicture(memory / "a.png", memory / "out/a.png"), upscaler, OutputSettings())
    assert (outcome.state, outcome.source_size, outcome.target_size) == ("enlarged", (20, 24), (40, 48))
    assert (outcome.source, outcome.target) == ("memory://pictures/a.png", "memory://pictures/out/a.png")
    download(memory / "out/a.png", tmp_path / "output.png")
    assert (tmp_path / "output.png").read_bytes() == (tmp_path / "expected.png").read_bytes()


def test_finished_outputs_are_known(memory: RemotePath, upscaler: Upscaler) -> None:
    picture = NamedPicture(memory / "a.png", memory / "out/a.png")
    states = [enlarge_picture(picture, upscaler, OutputSettings()).state for _ in range(2)]
    assert states == ["enlarged", "finished"]
    assert enlarge_picture(picture, upscaler, OutputSettings(overwrite=True)).state == "enlarged"


def test_other_outputs_are_kept(memory: RemotePath, tmp_path: Path, upscaler: Upscaler) -> None:
    picture = NamedPicture(memory / "a.png", memory / "inner/b.png")
    outcome = enlarge_picture(picture, upscaler, OutputSettings())
    assert (outcome.state, outcome.parameter) == ("failed", "overwrite")
    assert outcome.error.startswith("memory://pictures/inner/b.png: exists already, and does not say what made it")


@pytest.mark.parametrize(
    ("name", "message"), [("broken.png", "not a picture of a kind that is read"), ("none.png", "not found")]
)
def test_failures_name_the_address(memory: RemotePath, upscaler: Upscaler, name: str, message: str) -> None:
    outcome = enlarge_picture(NamedPicture(memory / name, memory / "out/a.png"), upscaler, OutputSettings())
    assert outcome.state == "failed"
    assert outcome.error.startswith(f"memory://pictures/{name}: {message}")
    assert [entry.name for entry in list_folder(memory)] == ["a.png", "broken.png", "inner"]


class Failing(Upscaler):
    """Fails with an error of some kind."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(2, "bgai")
        self._error = error

    def strips(self, *_: Any, **__: Any) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "message", "parameter"),
    [
        (MemoryError(), "not enough memory; set a smaller tile", "tile"),
        (RuntimeError("odd"), "cannot be enlarged: RuntimeError: odd", ""),
        (BgaiError("wrong", parameter="engine"), "wrong", "engine"),
    ],
)
def test_each_error_is_one_of_the_picture(tmp_path: Path, error: Exception, message: str, parameter: str) -> None:
    Image.fromarray(texture(20, 24)).save(tmp_path / "a.png")
    outcome = enlarge_picture(NamedPicture(tmp_path / "a.png", tmp_path / "b.png"), Failing(error), OutputSettings())
    assert (outcome.state, outcome.parameter) == ("failed", parameter)
    assert outcome.error.removeprefix(f"{tmp_path / 'a.png'}: ") == message
    assert not (tmp_path / "b.png").exists()


def test_output_made_elsewhere_meanwhile(
    memory: RemotePath, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage itself refuses to replace it."""

    def refuse(source: Path, target: RemotePath, *, overwrite: bool) -> None:
        raise OutputError(f"{target}: exists already")

    monkeypatch.setattr("bgai.cluster.picture.upload", refuse)
    outcome = enlarge_picture(NamedPicture(memory / "a.png", memory / "out/a.png"), upscaler, OutputSettings())
    assert (outcome.state, outcome.error) == ("failed", "memory://pictures/out/a.png: exists already")
