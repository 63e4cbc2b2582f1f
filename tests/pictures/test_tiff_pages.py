"""Pages that are put behind each other in a TIFF file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from picture_support import save_by_vips
from PIL import Image
from support import texture

from bgai.pictures.reading import read_contents, read_picture
from bgai.pictures.tiff_exif import add_tiff_exif
from bgai.pictures.tiff_pages import append_page


def page(path: Path, seed: int, bigtiff: bool = False, **options: object) -> NDArray[np.uint8]:
    pixels = texture(40 + 8 * seed, 30 + 4 * seed, seed=seed)
    save_by_vips(pixels, path, bigtiff=bigtiff, **options)
    exif = Image.Exif()
    exif[0x010F] = f"maker {seed}"
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0of page %d" % seed
    exif.get_ifd(0x8825)[1] = "N"
    add_tiff_exif(path, exif.tobytes())
    return pixels


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"compression": "deflate"}, {"tile": True, "tile_width": 16, "tile_height": 16}]
)
def test_pages_have_their_pixels_and_exif(bigtiff: bool, options: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "all.tif"
    expected = [page(tmp_path / f"{seed}.tif", seed, bigtiff, **options) for seed in range(3)]
    shutil.copy(tmp_path / "0.tif", path)
    for seed in (1, 2):
        append_page(path, tmp_path / f"{seed}.tif")
    assert read_contents(path).pages == tuple(pixels.shape[:2] for pixels in expected)
    image = Image.open(path)
    for number, pixels in enumerate(expected):
        np.testing.assert_array_equal(read_picture(path, page=number).pixels, pixels)
        np.testing.assert_array_equal(pyvips.Image.tiffload(str(path), page=number).numpy(), pixels)
        image.seek(number)
        exif = image.getexif()
        assert exif[0x010F] == f"maker {number}"
        assert exif.get_ifd(0x8769)[0x9286] == b"ASCII\0\0\0of page %d" % number
        assert exif.get_ifd(0x8825)[1] == "N"


@pytest.mark.skipif(not shutil.which("exiftool"), reason="needs exiftool")
def test_exiftool_finds_no_fault(tmp_path: Path) -> None:
    page(tmp_path / "a.tif", 0)
    page(tmp_path / "b.tif", 1)
    append_page(tmp_path / "a.tif", tmp_path / "b.tif")
    command = ["exiftool", "-validate", "-warning", "-error", "-a", "-G1", str(tmp_path / "a.tif")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "offset" not in said.lower(), said


def test_files_of_different_kinds_do_not_go_together(tmp_path: Path) -> None:
    page(tmp_path / "a.tif", 0)
    page(tmp_path / "b.tif", 1, bigtiff=True)
    with pytest.raises(OSError, match="of different kinds"):
        append_page(tmp_path / "a.tif", tmp_path / "b.tif")
    Image.fromarray(texture(9, 9)).save(tmp_path / "c.png")
    with pytest.raises(OSError, match="of different kinds"):
        append_page(tmp_path / "a.tif", tmp_path / "c.png")
