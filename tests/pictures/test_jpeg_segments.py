"""Segments of JPEG files."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image
from support import texture

from bgai.pictures.jpeg_segments import add_comments, comments, insert_place, segments


def jpeg(**options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(texture(16, 16)).save(file, "jpeg", **options)
    return file.getvalue()


def test_segments_end_before_the_scan() -> None:
    data = jpeg()
    found = list(segments(data))
    assert [marker for marker, _ in found] == [0xE0, 0xDB, 0xDB, 0xC0, 0xC4, 0xC4, 0xC4, 0xC4]
    end = 2 + sum(len(part) for _, part in found)
    assert data[end : end + 2] == b"\xff\xda"
    assert data[2:end] == b"".join(part for _, part in found)


def test_what_is_cut_short_is_left_out() -> None:
    data = jpeg()
    assert list(segments(data[:12])) == []
    assert len(list(segments(data[:30]))) == 1
    assert list(segments(b"")) == []


def test_comments_lie_behind_exif() -> None:
    exif = Image.Exif()
    exif[271] = "Maker"
    file = io.BytesIO(jpeg(exif=exif))
    add_comments(file, (b"one", b"two"))
    assert comments(file.getvalue()) == (b"one", b"two")
    assert file.getvalue()[insert_place(file) :][:2] == b"\xff\xfe"
    image = Image.open(file)
    image.load()
    assert image.getexif()[271] == "Maker"
