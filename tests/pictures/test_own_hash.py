"""Files that know whether they were changed."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from PIL import Image
from support import texture

from bgai.pictures.own_hash import FIELD, UNKNOWN, is_unchanged, write_own_hash
from bgai.pictures.png_chunks import has_wrong_checksum, heads
from bgai.pictures.reading import Picture, read_xmp
from bgai.pictures.writing import write_picture
from bgai.pictures.xmp import add_fields, read_fields


def written(path: Path, **fields: str) -> Path:
    with write_picture(path, Picture(texture(20, 30)), 30, fields=fields) as writer:
        writer.write(texture(20, 30))
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif", ".gif"])
def test_each_byte_counts(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"a{suffix}", source="1")
    assert is_unchanged(path)
    hidden = read_fields(read_xmp(path) or b"")[FIELD]
    assert len(hidden) == 32
    assert hidden != UNKNOWN
    data = path.read_bytes()
    skipped = range(data.index(hidden.encode()) + 32, data.index(hidden.encode()) + 200)
    for at in (0, 30, len(data) // 2, len(data) - 1):
        if suffix == ".png" and at in skipped:
            continue
        path.write_bytes(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])
        assert not is_unchanged(path), at
    path.write_bytes(data + b"\0")
    assert not is_unchanged(path)
    path.write_bytes(data)
    assert is_unchanged(path)


def test_a_png_has_right_checksums(tmp_path: Path) -> None:
    with written(tmp_path / "a.png", source="1").open("rb") as file:
        assert not has_wrong_checksum(file)
        for kind, length in heads(file):
            body = file.read(length)
            assert zlib.crc32(kind + body) == int.from_bytes(file.read(4), "big"), kind
    Image.open(tmp_path / "a.png").load()


def test_files_without_a_hash(tmp_path: Path) -> None:
    plain = written(tmp_path / "a.png")
    before = plain.read_bytes()
    write_own_hash(plain)
    assert plain.read_bytes() == before
    assert not is_unchanged(plain)
    assert not is_unchanged(tmp_path / "nothing.png")
    (tmp_path / "empty.png").touch()
    assert not is_unchanged(tmp_path / "empty.png")
    (tmp_path / "unknown.jpg").write_bytes(add_fields(None, {FIELD: UNKNOWN}))
    assert not is_unchanged(tmp_path / "unknown.jpg")
