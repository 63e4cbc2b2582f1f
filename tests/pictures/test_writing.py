"""Arrays to picture files: what is kept, format by format."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import pyvips
from picture_support import KINDS_OF_PIXELS, peak_growth, png_with, rewrite, save_by_vips
from PIL import Image, ImageCms, ImageOps, JpegImagePlugin
from support import texture

from bgai.errors import OutputError
from bgai.pictures import writing
from bgai.pictures.reading import Picture, read_picture, read_rgb8, read_size
from bgai.pictures.writing import check_output, encode_png, save_rgb_png, write_picture
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
    with write_picture(tmp_path / "out.webp", picture, 10, quality=100) as writer:
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
        ("a.webp", (10, 16384, 3), "16383"),
        ("a.jpg", (65_501, 10, 3), "65500"),
        ("a.jpg", (10, 10, 4), "transparency"),
        ("a.bmp", (10, 10, 3), "unknown output format"),
        ("a", (10, 10, 3), "unknown output format"),
    ],
)
def test_outputs_that_a_format_cannot_hold(name: str, size: tuple[int, int, int], message: str) -> None:
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
        monkeypatch.setattr(writing, "_save", saved)
        with pytest.raises(OutputError, match=message), write_picture(target, Picture(texture(20, 30)), 30) as writer:
            writer.write(texture(20, 30))
        assert not list(tmp_path.iterdir())


def test_an_encoder_that_fails_is_named_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise pyvips.Error("no room", "write: out of order\n")

    monkeypatch.setattr(writing, "_save", fail)
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
    writing._save(image, None, ".tif", 95, 0)
    assert options["bigtiff"] is big


def test_rows_of_an_encoded_picture_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[object] = []
    monkeypatch.setattr(writing, "forget", given_back.append)
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


def test_an_ultra_hdr_photo_becomes_a_photo(tmp_path: Path) -> None:
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
    assert "the gain map was left out: the output has no HDR" in notes
    image = Image.open(target)
    assert image.size == (30, 20)
    assert b"hdrgm:Version" not in image.info["xmp"]
    assert b"GainMap" not in image.info["xmp"]


def test_the_gain_map_of_libvips_is_noted_too(tmp_path: Path) -> None:
    light = np.linspace(0, 4, 48 * 64 * 3, dtype=np.float32).reshape(48, 64, 3)
    try:
        pyvips.Image.new_from_array(light).copy(interpretation="scrgb").uhdrsave(str(tmp_path / "in.jpg"))
    except (AttributeError, pyvips.Error):
        pytest.skip("this libvips writes no Ultra HDR")
    assert copied(tmp_path / "in.jpg", ".jpg")[1] == ("the gain map was left out: the output has no HDR",)


def test_a_motion_photo_becomes_a_photo(tmp_path: Path) -> None:
    Image.fromarray(texture(20, 30)).save(tmp_path / "in.jpg", xmp=MOTION)
    with (tmp_path / "in.jpg").open("ab") as file:
        file.write(b"\0\0\0\x18ftypmp42" + bytes(4000))
    target, notes = copied(tmp_path / "in.jpg", ".jpg")
    assert notes == ("the video of the motion photo was left out",)
    xmp = Image.open(target).info["xmp"]
    assert not any(name in xmp for name in (b"MotionPhoto", b"MicroVideo", b"Orientation"))
    assert b'dc:format="image/jpeg"' in xmp
