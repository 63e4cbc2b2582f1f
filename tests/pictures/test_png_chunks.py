"""Chunks of PNG files: which are read, and how they get into another file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from picture_support import png_with
from PIL import Image
from support import texture

from bgai.pictures import png_chunks
from bgai.pictures.png_chunks import change_chunks, has_resolution, read_chunks, replace_start

TEXT = (b"tEXt", b"Author\0somebody")


@pytest.mark.parametrize(("old", "new"), [(0, 9), (9, 0), (5, 5), (3, 400), (400, 3)])
def test_the_start_of_a_file_is_replaced(old: int, new: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_chunks, "_BLOCK", 64)
    rest = bytes(range(256)) * 4
    file = io.BytesIO(b"o" * old + rest)
    replace_start(file, old, b"n" * new)
    assert file.getvalue() == b"n" * new + rest


def test_chunks_are_put_in_and_taken_out(tmp_path: Path) -> None:
    Image.fromarray(texture(10, 10)).save(tmp_path / "a.png", dpi=(300, 300))
    with (tmp_path / "a.png").open("rb+") as file:
        assert has_resolution(file)
        change_chunks(file, [TEXT], [b"pHYs"])
        assert not has_resolution(file)
        assert read_chunks(file) == (TEXT,)
    image = Image.open(tmp_path / "a.png")
    np.testing.assert_array_equal(np.array(image), texture(10, 10))
    assert image.info == {"Author": "somebody"}


def test_what_is_kept_in_another_way_is_no_text(tmp_path: Path) -> None:
    png_with(
        tmp_path / "a.png",
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"),
        (b"zTXt", b"Raw profile type exif\0\0x"),
        TEXT,
    )
    with (tmp_path / "a.png").open("rb") as file:
        assert read_chunks(file) == (TEXT,)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_what_has_no_header_stays_as_it_is(data: bytes) -> None:
    file = io.BytesIO(data)
    change_chunks(file, [TEXT], [])
    assert file.getvalue() == data


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\x7f\xff\xff\xfftEXtA\0b"])
def test_a_file_without_whole_chunks_has_none(data: bytes) -> None:
    file = io.BytesIO(data)
    assert read_chunks(file) == ()
