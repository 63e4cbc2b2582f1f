"""Arrays to picture files: what is kept, format by format."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from picture_support import KINDS_OF_PIXELS, peak_growth, png_with, rewrite, save_by_vips
from PIL import Image, ImageCms, ImageOps, IptcImagePlugin, JpegImagePlugin, TiffImagePlugin
from support import texture

from bgai.errors import ImageError, OutputError, UsageError
from bgai.pictures import encoders
from bgai.pictures.encoding import Encoding, check_output, fit_alpha
from bgai.pictures.reading import Picture, read_picture, read_rgb8, read_size, read_xmp
from bgai.pictures.writing import encode_png, save_rgb_png, write_picture
from bgai.types import Pixels


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", KINDS_OF_PIXELS)
def test_lossless_formats_keep_every_sample(kind: str, dtype: type, suffix: str, tmp_path: Path) -> None:
    pixels: Pixels = texture(31, 20, KINDS_OF_PIXELS[kind]).astype(dtype)
    if dtype == np.uint16:
        pixels = pixels * np.uint16(251) + np.uint16(3)
    pixels = pixels[..., 0] if kind == "grey" else pixels
    save_by_vips(pixels, tmp_path / f"in{suffix}")
    rewrite(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    again = read_picture(tmp_path / f"out{suffix}").pixels
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, pixels)


@pytest.mark.parametrize(("suffix", "kinds"), [(".jpg", ("grey", "rgb")), (".webp", ("rgb", "rgba"))])
def test_lossy_formats_stay_close(suffix: str, kinds: tuple[str, ...], tmp_path: Path) -> None:
    for kind in kinds:
        pixels = np.full((24, 30, KINDS_OF_PIXELS[kind]), 90, np.uint8)
        pixels = pixels[..., 0] if kind == "grey" else pixels
        save_by_vips(pixels, tmp_path / f"{kind}{suffix}")
        rewrite(tmp_path / f"{kind}{suffix}", tmp_path / f"{kind}-out{suffix}")
        again = read_picture(tmp_path / f"{kind}-out{suffix}").pixels
        assert again.shape == pixels.shape
        assert np.abs(again.astype(int) - pixels).max() <= 3


def test_another_reader_agrees_on_16_bit_grey(tmp_path: Path) -> None:
    pixels = (texture(9, 14, 1)[..., 0].astype(np.uint16) * 257) ^ 5
    save_by_vips(pixels, tmp_path / "in.png")
    rewrite(tmp_path / "in.png", tmp_path / "out.png")
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "out.png")), pixels)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_profile_exif_and_resolution_are_kept(suffix: str, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Maker", "Model", 1
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    Image.fromarray(texture(20, 30)).save(
        tmp_path / f"in{suffix}", icc_profile=profile, exif=exif.tobytes(), dpi=(300, 300)
    )
    rewrite(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    out = Image.open(tmp_path / f"out{suffix}")
    assert out.info["icc_profile"] == profile
    assert out.getexif()[0x0110] == "Model"
    assert out.getexif().get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"
    if suffix != ".webp":  # which has no field for it
        assert round(float(out.info["dpi"][0])) == 300


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_orientation_is_applied_and_its_tag_reset(suffix: str, orientation: int, tmp_path: Path) -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :16] = 200  # one bright corner tells where up is
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / f"in{suffix}", exif=exif)
    upright = np.array(ImageOps.exif_transpose(Image.open(tmp_path / f"in{suffix}")).convert("RGB"))
    assert read_size(tmp_path / f"in{suffix}") == upright.shape
    rewrite(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    out = Image.open(tmp_path / f"out{suffix}")
    assert out.getexif().get(0x0112, 1) == 1
    assert np.abs(np.array(out.convert("RGB")).astype(int) - upright).max() < 40


def test_a_thumbnail_of_the_old_picture_is_dropped(tmp_path: Path) -> None:
    small = io.BytesIO()
    Image.fromarray(texture(8, 8)).save(small, "jpeg")
    image = pyvips.Image.new_from_array(texture(20, 20)).copy(interpretation="srgb")
    image.set_type(pyvips.GValue.blob_type, "jpeg-thumbnail-data", small.getvalue())
    image.jpegsave(str(tmp_path / "in.jpg"))
    rewrite(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert not pyvips.Image.new_from_file(str(tmp_path / "out.jpg")).get_typeof("jpeg-thumbnail-data")


def test_sixteen_bits_in_an_eight_bit_format_are_rounded_with_a_note(tmp_path: Path) -> None:
    save_by_vips(np.full((10, 10, 3), 257 * 100 + 129, np.uint16), tmp_path / "in.png")
    picture = read_picture(tmp_path / "in.png")
    with write_picture(tmp_path / "out.webp", picture, 10, encoding=Encoding(100)) as writer:
        writer.write(picture.pixels)
        assert "16 bits became 8" in writer.notes[0]
    assert abs(int(read_rgb8(tmp_path / "out.webp")[5, 5, 1]) - 101) <= 1


def test_an_encoded_png_holds_the_pixels_of_a_part() -> None:
    pixels = texture(40, 50)[3:30, 5:44]
    image = Image.open(io.BytesIO(encode_png(pixels)))
    assert (image.format, image.mode) == ("PNG", "RGB")
    np.testing.assert_array_equal(np.array(image), pixels)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("a.webp", (10, 16384), "16383"),
        ("a.avif", (16385, 10), "16384"),
        ("a.jpg", (65_501, 10), "65500"),
        ("a.bmp", (10, 10), "unknown output format"),
        ("a", (10, 10), "unknown output format"),
    ],
)
def test_outputs_that_a_format_cannot_hold(name: str, size: tuple[int, int], message: str) -> None:
    with pytest.raises(OutputError, match=message):
        check_output(Path(name), *size)


def test_a_writer_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    save_by_vips(texture(10, 10), tmp_path / "in.png")
    picture = read_picture(tmp_path / "in.png")
    with pytest.raises(KeyboardInterrupt), write_picture(tmp_path / "out.png", picture, 10) as writer:
        writer.write(picture.pixels)
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


@pytest.mark.parametrize(("before", "after"), [(".jpg", ".tif"), (".tif", ".jpg"), (".tif", ".png")])
def test_exif_goes_from_format_to_format(before: str, after: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0110], exif[0x0112] = "Model", 6
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    Image.fromarray(texture(20, 30)).save(tmp_path / f"in{before}", exif=exif.tobytes())
    picture = read_picture(tmp_path / f"in{before}")
    with write_picture(tmp_path / f"out{after}", picture, 20) as writer:
        writer.write(picture.pixels)
    found = Image.open(tmp_path / f"out{after}").getexif()
    assert found[0x0110] == "Model"
    assert found.get(0x0112, 1) == 1
    assert found.get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"
    assert read_picture(tmp_path / f"out{after}").pixels.shape == (30, 20, 3)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_no_exif_is_invented(suffix: str, tmp_path: Path) -> None:
    Image.fromarray(texture(20, 20)).save(tmp_path / f"in{suffix}")
    rewrite(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    assert "exif" not in Image.open(tmp_path / f"out{suffix}").info


@pytest.mark.parametrize("kind", KINDS_OF_PIXELS)
def test_a_picture_of_one_pixel(kind: str, tmp_path: Path) -> None:
    pixels = np.full((1, 1, KINDS_OF_PIXELS[kind]), 9, np.uint8)
    pixels = pixels[..., 0] if kind == "grey" else pixels
    save_by_vips(pixels, tmp_path / "in.png")
    rewrite(tmp_path / "in.png", tmp_path / "out.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "out.png").pixels, pixels, strict=True)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="counts memory as Linux does")
def test_what_is_encoded_does_not_count_as_memory(tmp_path: Path) -> None:
    code = """
noise = np.random.default_rng(0).integers(0, 256, (250, 8000, 3), np.uint8)
with write_picture(Path("large.png"), like, 8000) as writer:
    for _ in range(24):
        writer.write(noise)
    before = peak()
print(peak() - before)
"""
    assert peak_growth(code, tmp_path) < 70_000  # of rows of 144 MB
    assert Image.open(tmp_path / "large.png").size == (8000, 6000)


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse some of these names")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize(
    "name", ["a", "a[Q=1]", "-a", "a\nb", "🐈", "caf\udce9", "big\udce9/a", "dir[1]/a", "a" * 250], ids=ascii
)
def test_a_picture_of_any_name_is_written(name: str, suffix: str, tmp_path: Path) -> None:
    target = tmp_path / f"{name}{suffix}"
    with write_picture(target, Picture(texture(20, 30)), 30) as writer:
        writer.write(texture(20, 30))
    with target.open("rb") as file:
        assert Image.open(file).size == (30, 20)
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_what_was_written_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that writes nothing, or another size, and reports success."""
    target = tmp_path / "a.png"
    for saved, message in (
        (lambda image, target, *_: None, "a.png: cannot be written: what was written is not a whole picture"),
        (lambda image, target, *_: image.flip("horizontal").rot90().pngsave_target(target), "20 x 30 pixels, not 30 x"),
    ):
        monkeypatch.setattr(encoders, "_save", saved)
        with pytest.raises(OutputError, match=message), write_picture(target, Picture(texture(20, 30)), 30) as writer:
            writer.write(texture(20, 30))
        assert not list(tmp_path.iterdir())


def test_an_encoder_that_fails_is_named_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise pyvips.Error("no room", "write: out of order\n")

    monkeypatch.setattr(encoders, "_save", fail)
    message = "a.png: cannot be written: write: out of order"
    with (
        pytest.raises(OutputError, match=message) as error,
        write_picture(tmp_path / "a.png", Picture(texture(20, 30)), 30) as writer,
    ):
        writer.write(texture(20, 30))
    assert error.value.__cause__ is not None
    assert isinstance(error.value.__cause__.__cause__, pyvips.Error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_a_jpeg_has_colours_of_full_size(suffix: str, tmp_path: Path) -> None:
    save_rgb_png(tmp_path / "in.png", texture(20, 30))
    rewrite(tmp_path / "in.png", tmp_path / f"out{suffix}")
    image = Image.open(tmp_path / f"out{suffix}")
    assert isinstance(image, JpegImagePlugin.JpegImageFile)
    assert [component[1:3] for component in image.layer] == [(1, 1)] * 3


def test_webp_has_colours_subsampled_by_libwebps_sharp_filter(tmp_path: Path) -> None:
    pixels = texture(64, 64)
    save_rgb_png(tmp_path / "in.png", pixels)
    rewrite(tmp_path / "in.png", tmp_path / "out.webp")
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")
    sharp, plain = (
        np.array(Image.open(io.BytesIO(image.webpsave_buffer(Q=95, smart_subsample=smart)))) for smart in (True, False)
    )
    np.testing.assert_array_equal(read_rgb8(tmp_path / "out.webp"), sharp)
    assert (sharp != plain).any()


@pytest.mark.parametrize(("height", "big"), [(100, False), (715_828, True)])
def test_a_tiff_that_might_pass_4_gib_is_a_bigtiff(height: int, big: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of two bytes without compression would need offsets of more than 32 bits."""
    image = pyvips.Image.black(1000, height, bands=3)
    options: dict[str, object] = {}
    monkeypatch.setattr(pyvips.Image, "tiffsave_target", lambda *_, **given: options.update(given), raising=False)
    encoders._save(image, None, ".tif", Encoding(), 0)
    assert options["bigtiff"] is big


def test_rows_of_an_encoded_picture_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[object] = []
    monkeypatch.setattr(encoders, "forget", given_back.append)
    save_rgb_png(tmp_path / "in.png", texture(20, 30))
    rewrite(tmp_path / "in.png", tmp_path / "out.png")
    assert given_back


def test_an_rgb_png_replaces_an_earlier_one(tmp_path: Path) -> None:
    for seed in (0, 1):
        save_rgb_png(tmp_path / "a.png", texture(9, 14, seed=seed))
        np.testing.assert_array_equal(np.array(Image.open(tmp_path / "a.png")), texture(9, 14, seed=seed))


def copied(source: Path, suffix: str) -> tuple[Path, tuple[str, ...]]:
    """A copy through our reader and writer, and its notes."""
    picture = read_picture(source)
    target = source.with_name(f"out{suffix}")
    with write_picture(target, picture, picture.pixels.shape[1]) as writer:
        writer.write(picture.pixels)
    return target, (*picture.notes, *writer.notes)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("before", [".jpg", ".png", ".tif"])
def test_resolution_is_kept_without_exif(before: str, suffix: str, tmp_path: Path) -> None:
    Image.fromarray(texture(20, 30)).save(tmp_path / f"in{before}", dpi=(300, 150))
    out = Image.open(copied(tmp_path / f"in{before}", suffix)[0])
    assert [round(float(each)) for each in out.info["dpi"]] == [300, 150]
    assert "exif" not in out.info
    out.load()


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("before", [".jpg", ".png", ".webp"])
def test_no_resolution_is_invented(before: str, suffix: str, tmp_path: Path) -> None:
    Image.fromarray(texture(20, 30)).save(tmp_path / f"in{before}")
    assert "dpi" not in Image.open(copied(tmp_path / f"in{before}", suffix)[0]).info


def test_tiff_has_to_have_a_resolution_and_gets_72_dpi(tmp_path: Path) -> None:
    Image.fromarray(texture(20, 30)).save(tmp_path / "in.png")
    dpi = Image.open(copied(tmp_path / "in.png", ".tif")[0]).info["dpi"]
    assert [float(each) for each in dpi] == pytest.approx([72, 72], abs=0.01)


def test_the_header_with_the_resolution_is_that_of_jfif(tmp_path: Path) -> None:
    Image.fromarray(texture(20, 30)).save(tmp_path / "in.jpg", dpi=(300, 150))
    header = b"JFIF\0" + bytes((1, 2, 1)) + struct.pack(">HH", 300, 150) + b"\0\0"  # 1.02, dots an inch, no thumbnail
    assert copied(tmp_path / "in.jpg", ".jpg")[0].read_bytes().startswith(b"\xff\xd8\xff\xe0\0\x10" + header)


def test_a_png_with_a_profile_does_not_say_srgb_too(tmp_path: Path) -> None:
    """PNG (third edition, 11.3.2.5) allows one of both."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(texture(20, 30)).save(tmp_path / "base.png", icc_profile=profile)
    png_with(tmp_path / "in.png", (b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45455)), base=tmp_path / "base.png")
    data = copied(tmp_path / "in.png", ".png")[0].read_bytes()
    assert [kind in data for kind in (b"iCCP", b"\0\0\0\4gAMA", b"\0\0\0\1sRGB")] == [True, True, False]


TEXT_CHUNKS = (
    (b"tEXt", b"parameters\0a cat, Steps: 20"),
    (b"tEXt", "Überschrift\0Straße".encode("latin-1")),
    (b"zTXt", b"Comment\0\0" + zlib.compress(b"long " * 50)),
    (b"iTXt", 'workflow\0\0\0\0\0{"é": 1}'.encode()),
)


def test_texts_of_png_are_kept(tmp_path: Path) -> None:
    """Also those behind the pixels; of a file that is enlarged again as well."""
    png_with(tmp_path / "in.png", *TEXT_CHUNKS[:2])
    png_with(tmp_path / "in.png", *TEXT_CHUNKS[2:], before=b"IEND", base=tmp_path / "in.png")
    target, notes = copied(tmp_path / "in.png", ".png")
    target.rename(tmp_path / "again.png")
    target, _ = copied(tmp_path / "again.png", ".png")
    image = Image.open(target)
    image.load()
    assert notes == ()
    assert image.info["parameters"] == "a cat, Steps: 20"
    assert image.info["Überschrift"] == "Straße"
    assert image.info["Comment"] == "long " * 50
    assert image.info["workflow"] == '{"é": 1}'
    np.testing.assert_array_equal(np.array(image), texture(10, 10))
    assert copied(tmp_path / "in.png", ".jpg")[1] == ("4 texts of PNG left out, which .jpg has no place for",)


P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


@pytest.mark.parametrize(
    "chunk",
    [(b"gAMA", struct.pack(">I", 100_000)), (b"cHRM", P3), (b"cICP", bytes((9, 16, 0, 1)))],
    ids=["gAMA", "cHRM", "cICP"],
)
def test_what_the_colours_of_a_png_are_is_kept(chunk: tuple[bytes, bytes], tmp_path: Path) -> None:
    png_with(tmp_path / "in.png", chunk)
    target, notes = copied(tmp_path / "in.png", ".png")
    data = target.read_bytes()
    at = data.index(chunk[0])
    assert at < data.index(b"IDAT")
    assert data[at + 4 : at + 4 + len(chunk[1])] == chunk[1]
    assert notes == ()
    (note,) = copied(tmp_path / "in.png", ".webp")[1]
    assert f"colours may look different: .webp has no place for what {chunk[0].decode()} say" in note


def test_chunks_that_say_srgb_need_no_note(tmp_path: Path) -> None:
    png_with(tmp_path / "in.png", (b"gAMA", struct.pack(">I", 45455)), (b"sRGB", b"\0"))
    assert copied(tmp_path / "in.png", ".jpg")[1] == ()


@pytest.mark.parametrize("codes", [(1, 13, 0, 1), (2, 2, 0, 1)], ids=["sRGB", "unspecified"])
def test_code_points_that_say_srgb_or_nothing_need_no_note(codes: tuple[int, ...], tmp_path: Path) -> None:
    """Code points of ITU-T H.273."""
    png_with(tmp_path / "in.png", (b"cICP", bytes(codes)))
    assert copied(tmp_path / "in.png", ".webp")[1] == ()


def test_what_the_colours_of_an_avif_are_is_kept_in_png(tmp_path: Path) -> None:
    Image.fromarray(texture(20, 30)).save(tmp_path / "in.avif")
    data = (tmp_path / "in.avif").read_bytes()
    at = data.index(b"colrnclx") + 8
    (tmp_path / "in.avif").write_bytes(data[:at] + struct.pack(">HH", 12, 13) + data[at + 4 :])
    target, notes = copied(tmp_path / "in.avif", ".png")
    assert target.read_bytes().partition(b"cICP")[2][:4] == bytes((12, 13, 0, 1))
    assert notes == ()
    assert "colours may look different" in copied(tmp_path / "in.avif", ".jpg")[1][0]


def test_grey_of_another_gamma_is_converted_for_webp(tmp_path: Path) -> None:
    profile = io.BytesIO()
    tables = {b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)}
    tables[b"kTRC"] = b"curv\0\0\0\0" + struct.pack(">IH2x", 1, round(1.0 * 256))  # linear
    tables[b"desc"] = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"l\0" + bytes(78)
    at, index, body = 128 + 4 + 12 * len(tables), b"", b""
    for name, table in tables.items():
        index += name + struct.pack(">II", at + len(body), len(table))
        body += table + bytes(-len(table) % 4)
    head = struct.pack(">I4sI4s4s4s12x4s28x12s48x", at + len(body), b"lcms", 0x02400000, b"mntr", b"GRAY", b"XYZ ",
                       b"acsp", struct.pack(">3i", 63190, 65536, 54061))  # fmt: skip
    profile.write(head + struct.pack(">I", len(tables)) + index + body)
    Image.fromarray(np.full((16, 16), 55, np.uint8)).save(tmp_path / "in.png", icc_profile=profile.getvalue())
    target, notes = copied(tmp_path / "in.png", ".webp")
    assert notes == ("grey was converted to sRGB: .webp holds no grey profile",)
    image = Image.open(target)
    assert "icc_profile" not in image.info
    linear = 255 * (1.055 * (55 / 255) ** (1 / 2.4) - 0.055)
    assert abs(np.array(image.convert("RGB")).astype(int) - linear).max() <= 3
    assert Image.open(copied(tmp_path / "in.png", ".png")[0]).info["icc_profile"] == profile.getvalue()


def test_a_profile_of_colours_with_transparency_is_kept_in_webp(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(texture(20, 30, 4)).save(tmp_path / "in.png", icc_profile=profile)
    target, notes = copied(tmp_path / "in.png", ".webp")
    assert notes == ()
    assert Image.open(target).info["icc_profile"] == profile


def test_a_channel_that_is_no_transparency_is_left_out(tmp_path: Path) -> None:
    pixels = np.full((24, 32, 4), (180, 60, 30, 0), np.uint8)
    pixels[8:16, 8:16, 3] = 255
    for extra, channels in ((0, 3), (2, 4)):
        Image.fromarray(pixels).save(tmp_path / "in.tif")
        field = struct.pack("<HHI", 338, 3, 1)
        data = (tmp_path / "in.tif").read_bytes().replace(field + b"\2\0", field + bytes((extra, 0)))
        (tmp_path / "in.tif").write_bytes(data)
        assert read_size(tmp_path / "in.tif")[2] == channels
        picture = read_picture(tmp_path / "in.tif")
        np.testing.assert_array_equal(picture.pixels, pixels[..., :channels])
        assert len(picture.notes) == 4 - channels


MOTION = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"'
    b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" GCamera:MotionPhoto="1"'
    b' GCamera:MicroVideoOffset="4000" tiff:Orientation="6" dc:format="image/jpeg"/></rdf:RDF></x:xmpmeta>'
)


def test_an_ultra_hdr_photo_without_a_sound_gain_map_becomes_a_photo(tmp_path: Path) -> None:
    """Its base picture, with a note; and without the tags, for which programs would look for a gain map."""
    gain_map = io.BytesIO()
    Image.fromarray(texture(10, 15)[..., 0]).save(gain_map, "jpeg")
    described = (
        b' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"><Container:Directory><rdf:Seq>'
        b'<rdf:li Item:Semantic="GainMap"/></rdf:Seq></Container:Directory></rdf:Description></rdf:RDF>'
    )
    xmp = MOTION.replace(b"/></rdf:RDF>", described)
    Image.fromarray(texture(20, 30)).save(tmp_path / "in.jpg", xmp=xmp)
    with (tmp_path / "in.jpg").open("ab") as file:
        file.write(gain_map.getvalue())
    target, notes = copied(tmp_path / "in.jpg", ".jpg")
    assert "the gain map cannot be read and was left out: the output has no HDR" in notes
    image = Image.open(target)
    assert image.size == (30, 20)
    assert b"hdrgm:Version" not in image.info["xmp"]
    assert b"GainMap" not in image.info["xmp"]


def test_a_motion_photo_becomes_a_photo(tmp_path: Path) -> None:
    Image.fromarray(texture(20, 30)).save(tmp_path / "in.jpg", xmp=MOTION)
    with (tmp_path / "in.jpg").open("ab") as file:
        file.write(b"\0\0\0\x18ftypmp42" + bytes(4000))
    target, notes = copied(tmp_path / "in.jpg", ".jpg")
    assert notes == ("the video of the motion photo was left out",)
    xmp = Image.open(target).info["xmp"]
    assert not any(name in xmp for name in (b"MotionPhoto", b"MicroVideo", b"Orientation"))
    assert b'dc:format="image/jpeg"' in xmp


def encoded(
    tmp_path: Path, pixels: Pixels, suffix: str, encoding: Encoding, **picture: Any
) -> tuple[Path, tuple[str, ...]]:
    """Pixels written as `upscale_file` does it."""
    target = tmp_path / f"out{suffix}"
    like = fit_alpha(Picture(pixels, **picture), target, encoding.background)
    with write_picture(target, like, pixels.shape[1], encoding=encoding, fields={"scale": "2"}) as writer:
        writer.write(like.pixels)
    return target, writer.notes


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
def test_opaque_alpha_is_dropped_for_jpeg(channels: int, dtype: type, tmp_path: Path) -> None:
    pixels: Pixels = np.full((16, 16, channels), 90 if dtype == np.uint8 else 90 * 257, dtype)
    pixels[..., -1] = np.iinfo(dtype).max
    target, _ = encoded(tmp_path, pixels, ".jpg", Encoding(100))
    assert read_picture(target).pixels.shape == ((16, 16) if channels == 2 else (16, 16, 3))
    np.testing.assert_allclose(read_rgb8(target), 90, atol=1)
    assert encoded(tmp_path, pixels, ".png", Encoding())[0].exists()
    assert read_size(tmp_path / "out.png")[2] == channels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_background_under_transparency(suffix: str, dtype: type, tmp_path: Path) -> None:
    most = np.iinfo(dtype).max
    pixels: Pixels = np.zeros((32, 32, 4), dtype)
    pixels[:16, :, 0] = most
    pixels[:, 16:, 3] = most
    pixels[16:, :16, 3] = most // 2
    with pytest.raises(OutputError, match="JPEG cannot hold transparency; choose a colour") as error:
        encoded(tmp_path, pixels, ".jpg", Encoding())
    assert error.value.parameter == "background"
    target, _ = encoded(tmp_path, pixels, suffix, Encoding(100, background="#2040C0"))
    found = read_rgb8(target)
    expected = {(4, 4): (32, 64, 192), (4, 28): (255, 0, 0), (28, 4): (16, 32, 96), (28, 28): (0, 0, 0)}
    for (row, column), colour in expected.items():
        np.testing.assert_allclose(found[row, column], colour, atol=4)


def test_grey_on_a_background_stays_grey(tmp_path: Path) -> None:
    target, _ = encoded(tmp_path, np.zeros((8, 8, 2), np.uint8), ".jpg", Encoding(100, background="#00ff00"))
    picture = read_picture(target)
    assert picture.pixels.ndim == 2
    np.testing.assert_allclose(picture.pixels, 150, atol=2)  # the luma of green


@pytest.mark.parametrize("colour", ["#fff", "red", "20,30,40", "#20a0f", ""])
def test_what_is_no_colour(colour: str) -> None:
    with pytest.raises(UsageError, match="expected white, black or #rrggbb") as error:
        Encoding(background=colour)
    assert error.value.parameter == "background"


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_lossless(suffix: str, tmp_path: Path) -> None:
    pixels = texture(24, 32)
    target, _ = encoded(tmp_path, pixels, suffix, Encoding(lossless=True))
    np.testing.assert_array_equal(read_picture(target).pixels, pixels)
    with pytest.raises(OutputError, match="JPEG always loses"):
        check_output(Path("a.jpg"), 9, 9, Encoding(lossless=True))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_avif(channels: int, tmp_path: Path) -> None:
    pixels = ramp(channels)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    kept = {"icc-profile-data": (pyvips.GValue.blob_type, profile)} if channels > 1 else {}
    target, notes = encoded(tmp_path, pixels, ".avif", Encoding(90), metadata=kept)
    picture = read_picture(target)
    found = picture.pixels if channels > 1 else picture.pixels.reshape(32, 48, -1)[..., 0]
    np.testing.assert_allclose(found.astype(int), pixels, atol=6)
    assert notes == ()
    assert picture.metadata.get("icc-profile-data", (0, None))[1] == (profile if channels > 1 else None)
    assert picture.resolution is None
    assert "exif-data" not in picture.metadata
    assert b'bgai:scale="2"' in (read_xmp(target) or b"")
    Image.open(target).load()


def ramp(channels: int) -> Pixels:
    y, x = np.mgrid[0:32, 0:48]
    planes = np.stack([x * 5, y * 7, x + y, 255 - x], axis=-1).astype(np.uint8)
    return planes[..., 0] if channels == 1 else planes[..., :channels]


def test_avif_of_16_bits_has_12(tmp_path: Path) -> None:
    pixels = ramp(3).astype(np.uint16) * 257 + 64
    target, notes = encoded(tmp_path, pixels, ".avif", Encoding(lossless=True))
    assert notes == ("16 bits became 12, which is all that AVIF holds",)
    np.testing.assert_allclose(read_picture(target).pixels.astype(int), pixels, atol=17)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_without_metadata(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[271] = "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(texture(16, 16))
    image.save(tmp_path / "in.jpg", exif=exif, icc_profile=profile, xmp=MOTION, dpi=(300, 300), comment="a secret")
    picture = read_picture(tmp_path / "in.jpg").with_colours_alone()
    with write_picture(tmp_path / f"out{suffix}", picture, 16) as writer:
        writer.write(picture.pixels)
    data = (tmp_path / f"out{suffix}").read_bytes()
    assert not any(word in data for word in (b"Maker", b"Exif", b"GCamera", b"a secret"))
    found = read_picture(tmp_path / f"out{suffix}").metadata.keys()
    if suffix == ".webp":  # which has no other place for the resolution
        assert set(Image.open(tmp_path / "out.webp").getexif()) == {0x011A, 0x011B, 0x0128}
    else:
        assert found == {"icc-profile-data"}


def test_what_a_recipe_says_of_an_encoding() -> None:
    assert Encoding(90).describe(Path("a.jpg")) == "90"
    assert Encoding(90).describe(Path("a.png")) == ""
    assert Encoding(lossless=True).describe(Path("a.webp")) == "lossless"
    assert Encoding(background="White").describe(Path("a.png")) == "on #ffffff"


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_damaged_picture_is_taken_if_asked_for(suffix: str, tmp_path: Path) -> None:
    pixels = np.full((200, 300, 3), (200, 60, 30), np.uint8)
    pixels[::2] = texture(100, 300)
    Image.fromarray(pixels).save(tmp_path / f"a{suffix}")
    whole = read_picture(tmp_path / f"a{suffix}").pixels
    data = (tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"a{suffix}").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match="damaged or cut short"):
        read_picture(tmp_path / f"a{suffix}")
    picture = read_picture(tmp_path / f"a{suffix}", lenient=True)
    assert picture.notes[0].startswith("damaged or cut short: ")
    assert picture.notes[0].endswith("; what cannot be decoded is grey or black")
    np.testing.assert_array_equal(picture.pixels[:60], whole[:60])
    assert picture.pixels.shape == whole.shape
    with pytest.raises(ImageError, match="not a picture of a kind"):
        (tmp_path / "text.png").write_text("hello")
        read_picture(tmp_path / "text.png", lenient=True)


def test_comments_of_jpeg(tmp_path: Path) -> None:
    Image.fromarray(texture(16, 16)).save(tmp_path / "in.jpg", comment="Stra\u00dfe".encode(), dpi=(300, 300))
    rewrite(tmp_path / "in.jpg", tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.info["comment"] == "Stra\u00dfe".encode()
        assert image.info["dpi"] == (300, 300)
    assert copied(tmp_path / "in.jpg", ".png")[1] == ("the comment was left out, which .png has no place for",)


def test_iptc_in_the_form_of_each_format(tmp_path: Path) -> None:
    records = b"\x1c\x02\x19\x00\x03cat\x1c\x02Z\x00\x03Ulm"
    resources = b"8BIM\x04\x25\x03abc\0\0\0\2xy" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(records)) + records
    body = b"Photoshop 3.0\0" + resources
    Image.fromarray(texture(16, 16)).save(tmp_path / "in.jpg")
    data = (tmp_path / "in.jpg").read_bytes()
    (tmp_path / "in.jpg").write_bytes(data[:2] + b"\xff\xed" + struct.pack(">H", len(body) + 2) + body + data[2:])
    rewrite(tmp_path / "in.jpg", tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        assert IptcImagePlugin.getiptcinfo(image) == {(2, 25): b"cat", (2, 90): b"Ulm"}
    for source, target in (("in.jpg", "b.jpg"), ("a.tif", "c.jpg")):
        rewrite(tmp_path / source, tmp_path / target)
        with Image.open(tmp_path / target) as image:
            assert isinstance(image, JpegImagePlugin.JpegImageFile)
            assert IptcImagePlugin.getiptcinfo(image) == {(2, 25): b"cat", (2, 90): b"Ulm"}
    assert copied(tmp_path / "in.jpg", ".webp")[1] == ("IPTC was left out, which .webp has no place for",)
