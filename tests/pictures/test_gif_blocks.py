"""Comments and XMP of GIF files, and files that end early."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from support import texture

from bgai.pictures.gif_blocks import add_gif_texts, is_cut_short, read_gif_comments, read_gif_xmp
from bgai.pictures.xmp import add_fields


def gif(comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    frames = [Image.fromarray(texture(20, 30, seed=seed)).quantize(64) for seed in (0, 1)]
    frames[0].save(file, "gif", save_all=True, append_images=frames[1:], comment=comment, loop=0)
    return file.getvalue()


def test_comments_are_read() -> None:
    assert read_gif_comments(gif(b"a" * 700)) == (b"a" * 700,)
    assert read_gif_comments(gif()) == ()
    assert read_gif_comments(gif(b"first")[:-400]) == (b"first",)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"no picture at all"])
def test_what_is_no_gif_has_no_texts(data: bytes) -> None:
    assert read_gif_comments(data) == ()
    assert read_gif_xmp(data) is None


def test_texts_are_put_in_and_the_frames_stay() -> None:
    packet = add_fields(None, {"source": "1-2"})
    file = io.BytesIO(gif().replace(b"GIF89a", b"GIF87a"))
    add_gif_texts(file, (b"a" * 300, b"b"), packet)
    data = file.getvalue()
    assert data.startswith(b"GIF89a")
    assert read_gif_comments(data) == (b"a" * 300, b"b")
    assert read_gif_xmp(data) == packet
    assert not is_cut_short(data)
    before, after = Image.open(io.BytesIO(gif())), Image.open(io.BytesIO(data))
    assert isinstance(after.info["comment"], bytes)
    assert after.n_frames == 2  # type: ignore[attr-defined]
    for index in range(2):
        before.seek(index)
        after.seek(index)
        np.testing.assert_array_equal(np.array(before.convert("RGB")), np.array(after.convert("RGB")))


def test_nothing_to_put_in_changes_nothing() -> None:
    file = io.BytesIO(gif())
    add_gif_texts(file, (), None)
    assert file.getvalue() == gif()


def test_files_that_end_early() -> None:
    """The last byte, which only marks the end, is missing from many files."""
    data = gif()
    assert not is_cut_short(data)
    assert not is_cut_short(data[:-1])
    assert not is_cut_short(data + b"\0\0")
    for length in (6, 12, 100, len(data) // 2, len(data) - 2):
        assert is_cut_short(data[:length]), length
