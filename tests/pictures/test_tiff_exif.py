"""EXIF of TIFF files: kept both ways in every layout, and nothing harmed by damage."""

from __future__ import annotations

import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image
from support import texture

from bgai.pictures.tiff_exif import add_tiff_exif, read_tiff_exif

EXIF, GPS, INTEROPERABILITY, MAKER_NOTE = 0x8769, 0x8825, 0xA005, 0x927C
MAIN_TAGS = {
    270: "a hill",
    271: "Maker",
    272: "M1",
    305: "1.0",
    306: "2024:05:06 07:08:09",
    315: "Ann",
    33432: "(c) Ann",
}
EXIF_TAGS: dict[int, Any] = {0x829A: 0.008, 0x8827: 400, 0x9000: b"0232", 0x9204: -1.5, MAKER_NOTE: b"note" * 9}
GPS_TAGS: dict[int, Any] = {1: "N", 2: (52.0, 31.0, 12.5), 5: b"\0"}
INTEROPERABILITY_TAGS: dict[int, Any] = {1: "R98", 2: b"0100"}
PIXELS = texture(20, 31)
LAYOUTS = {"II": "<", "MM": ">", "II-big": "<", "MM-big": ">"}


def exif_of(order: str = "<", **more: Any) -> Image.Exif:
    """All four directories, an orientation, and the size of another picture."""
    exif = Image.Exif()
    exif.endian = order
    exif.update({**MAIN_TAGS, 274: 6})
    exif.get_ifd(EXIF).update({**EXIF_TAGS, 0xA002: 7, 0xA003: 8, **more.get("exif", {})})
    exif.get_ifd(EXIF)[INTEROPERABILITY] = INTEROPERABILITY_TAGS
    exif.get_ifd(GPS).update(GPS_TAGS)
    return exif


def vips_tiff(path: Path, **options: Any) -> Path:
    image = pyvips.Image.new_from_array(PIXELS).copy(interpretation="srgb")
    image.tiffsave(str(path), compression="deflate", **options)
    return path


def tiff(path: Path, layout: str, more: bytes = b"") -> Path:
    """The least 2 x 1 grey picture in any layout, with a link to a second IFD at 8 after an odd number of bytes."""
    order, big = LAYOUTS[layout], layout.endswith("big")
    number = "Q" if big else "I"
    width = struct.calcsize(number)
    tags = {256: 2, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8 if not big else 16, 277: 1, 278: 1, 279: 2}
    header = struct.pack(
        order + ("2sHHHQ" if big else "2sHI"),
        *(  # pixels lie between the header and the IFD
            (layout[:2].encode(), 43, 8, 0, 18) if big else (layout[:2].encode(), 42, 10)
        ),
    )
    entries = (struct.pack(f"{order}HH{number}H{width - 2}x", tag, 3, 1, value) for tag, value in tags.items())
    count = struct.pack(order + ("Q" if big else "H"), len(tags))
    path.write_bytes(header + b"\x21\xc3" + count + b"".join(entries) + bytes(width) + more)
    return path


def assert_whole(exif: Image.Exif, interoperability: dict[int, Any] = INTEROPERABILITY_TAGS) -> None:
    assert {tag: exif.get(tag) for tag in MAIN_TAGS} == MAIN_TAGS
    found = exif.get_ifd(EXIF)
    assert {tag: found.get(tag) for tag in EXIF_TAGS} == EXIF_TAGS
    assert exif.get_ifd(GPS) == GPS_TAGS
    assert exif.get_ifd(INTEROPERABILITY) == interoperability


def loaded(block: bytes | None) -> Image.Exif:
    assert block is not None
    assert block.startswith(b"Exif\0\0II*\0")
    assert len(block) <= 65533
    exif = Image.Exif()
    exif.load(block)
    return exif


def first_ifd(path: Path) -> tuple[int, dict[int, int], bytes]:
    """Offset, tags in their order with values or offsets, and link of a little-endian classic file's first IFD."""
    data = path.read_bytes()
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    end = start + 2 + 12 * count
    entries = [struct.unpack_from("<H6xI", data, at) for at in range(start + 2, end, 12)]
    return start, dict(entries), data[end : end + 4]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_exif_goes_into_what_libvips_writes_and_comes_out_again(big: bool, order: str, tmp_path: Path) -> None:
    path = vips_tiff(tmp_path / "a.tif", bigtiff=big)
    add_tiff_exif(path, exif_of(order).tobytes())
    np.testing.assert_array_equal(pyvips.Image.new_from_file(str(path), fail_on="warning").numpy(), PIXELS)
    with Image.open(path) as image:
        assert_whole(image.getexif())
        np.testing.assert_array_equal(np.array(image), PIXELS)
    assert_whole(loaded(read_tiff_exif(path)))


@pytest.mark.parametrize("big", [False, True])
def test_exif_of_another_writer_is_read(big: bool, tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.tif", exif=exif_of().tobytes(), big_tiff=big)
    exif = loaded(read_tiff_exif(tmp_path / "a.tif"))
    assert_whole(exif, {})  # Pillow leaves the pointer to it as it was in the block: it leads nowhere
    assert 274 not in exif
    assert 256 not in exif


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_takes_blocks_of_either_order(layout: str, order: str, tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", layout, b"odd")
    before = path.read_bytes()
    add_tiff_exif(path, exif_of(order).tobytes().removeprefix(b"Exif\0\0"))
    assert_whole(loaded(read_tiff_exif(path)))
    header = 16 if layout.endswith("big") else 8
    assert path.read_bytes()[header : len(before)] == before[header:]
    assert pyvips.Image.new_from_file(str(path), fail_on="warning").numpy().tolist() == [[0x21, 0xC3]]
    if layout != "MM-big":  # which Pillow does not read
        with Image.open(path) as image:
            assert_whole(image.getexif())
            assert np.array(image).tolist() == [[0x21, 0xC3]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_size_becomes_that_of_the_file(layout: str, tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", layout)
    add_tiff_exif(path, exif_of().tobytes())
    found = loaded(read_tiff_exif(path)).get_ifd(EXIF)
    assert (found[0xA002], found[0xA003]) == (2, 1)


def test_a_size_that_was_not_given_is_not_invented(tmp_path: Path) -> None:
    exif = exif_of()
    del exif.get_ifd(EXIF)[0xA002], exif.get_ifd(EXIF)[0xA003]
    path = vips_tiff(tmp_path / "a.tif")
    add_tiff_exif(path, exif.tobytes())
    assert not {0xA002, 0xA003} & set(loaded(read_tiff_exif(path)).get_ifd(EXIF))


def test_tags_of_the_file_stay_and_orientation_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(PIXELS).save(path, tiffinfo={271: "First", 274: 1})
    add_tiff_exif(path, exif_of().tobytes())
    with Image.open(path) as image:
        exif = image.getexif()
        assert (exif[271], exif[272], exif[274]) == ("First", "M1", 1)
    once = path.read_bytes()
    add_tiff_exif(path, exif_of(exif={0x8827: 800}).tobytes())
    with Image.open(path) as image:
        assert image.getexif().get_ifd(EXIF)[0x8827] == 400
    assert path.read_bytes()[8 : len(once)] == once[8:]


def test_tags_are_sorted_and_further_pages_stay_linked(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(PIXELS).save(path, save_all=True, append_images=[Image.fromarray(PIXELS[::-1])])
    *_, link = first_ifd(path)
    add_tiff_exif(path, exif_of().tobytes())
    _, tags, again = first_ifd(path)
    assert list(tags) == sorted({*tags, *MAIN_TAGS, EXIF, GPS})
    assert again == link != bytes(4)
    with Image.open(path) as image:
        image.seek(1)
        np.testing.assert_array_equal(np.array(image), PIXELS[::-1])


def test_offsets_are_even(tmp_path: Path) -> None:
    path = vips_tiff(tmp_path / "a.tif")
    path.write_bytes(path.read_bytes() + bytes(1 - path.stat().st_size % 2))
    add_tiff_exif(path, exif_of(exif={0x9286: b"odd number"[:9]}).tobytes())
    start, tags, _ = first_ifd(path)
    assert [offset % 2 for offset in (start, tags[EXIF], tags[GPS], tags[306], tags[33432])] == [0] * 5


def test_a_thumbnail_stays_behind(tmp_path: Path) -> None:
    main = struct.pack("<2sHIHHHI4sI", b"II", 42, 8, 1, 271, 2, 2, b"A\0", 26)
    thumbnail = struct.pack("<HHHIIHHIII", 2, 513, 4, 1, 56, 514, 4, 1, 9, 0) + b"THUMBNAIL"
    path = vips_tiff(tmp_path / "a.tif")
    add_tiff_exif(path, main + thumbnail)
    assert b"THUMBNAIL" not in path.read_bytes()
    assert first_ifd(path)[2] == bytes(4)
    assert dict(loaded(read_tiff_exif(path))) == {271: "A"}


@pytest.mark.parametrize("size", [60_000, 66_000])
def test_only_a_makers_note_that_fits_is_read(size: int, tmp_path: Path) -> None:
    path, exif = tmp_path / "a.tif", exif_of(exif={MAKER_NOTE: bytes(size), 0x9286: bytes(6_000)})
    Image.fromarray(PIXELS).save(path, exif=exif.tobytes())
    found = loaded(read_tiff_exif(path)).get_ifd(EXIF)
    assert MAKER_NOTE not in found
    assert found[0x9286] == bytes(6_000)
    del exif.get_ifd(EXIF)[0x9286]
    Image.fromarray(PIXELS).save(path, exif=exif.tobytes())
    assert (MAKER_NOTE in loaded(read_tiff_exif(path)).get_ifd(EXIF)) == (size == 60_000)


def test_a_field_that_no_block_can_hold_is_left_out(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.tif", exif=exif_of(exif={0x9286: bytes(66_000)}).tobytes())
    assert_whole(loaded(read_tiff_exif(tmp_path / "a.tif")), {})


def test_values_that_many_fields_share_fill_no_memory(tmp_path: Path) -> None:
    entries = b"".join(struct.pack("<HHII", tag, 7, 65_000, 50) for tag in range(1_000))
    header = struct.pack("<2sHIHHHIIIH", b"II", 42, 8, 1, EXIF, 4, 1, 26, 0, 1_000)
    (tmp_path / "a.tif").write_bytes(header + entries + bytes(65_000))
    tracemalloc.start()
    assert read_tiff_exif(tmp_path / "a.tif") is None
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()


def test_what_no_block_can_hold_is_none(tmp_path: Path) -> None:
    exif = exif_of(exif={0x9286: bytes(40_000), 0x927D: bytes(40_000)})
    Image.fromarray(PIXELS).save(tmp_path / "a.tif", exif=exif.tobytes())
    assert read_tiff_exif(tmp_path / "a.tif") is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_plain_file_has_none(layout: str, tmp_path: Path) -> None:
    assert read_tiff_exif(tiff(tmp_path / "a.tif", layout)) is None


@pytest.mark.parametrize("content", [b"", b"II*\0", b"\x89PNG\r\n\x1a\n" + bytes(20), b"II*\0\x08\0\0\0"])
def test_other_files_have_none_and_take_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    assert read_tiff_exif(path) is None
    add_tiff_exif(path, exif_of().tobytes())
    assert path.read_bytes() == content


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_tiff_exif(tmp_path / "none.tif")


def block(tag: int, kind: int, count: int, value: int) -> bytes:
    """A TIFF of 38 bytes whose first IFD, at 8, has a Make and one more entry."""
    make = struct.pack("<HHI4s", 271, 2, 4, b"Own\0")
    return struct.pack("<2sHIH", b"II", 42, 8, 2) + make + struct.pack("<HHIII", tag, kind, count, value, 0)


DAMAGED = {
    "cut short": exif_of().tobytes()[:-1],
    "a pointer to its own IFD": block(EXIF, 4, 1, 8),
    "a pointer to the header": block(EXIF, 4, 1, 0),
    "a pointer beyond the end": block(GPS, 4, 1, 38),
    "a pointer that is far off": block(GPS, 4, 1, 2**32 - 1),
    "two pointers to one IFD": struct.pack("<2sHIHHHIIHHIII", b"II", 42, 8, 2, EXIF, 4, 1, 38, GPS, 4, 1, 38, 0)
    + struct.pack("<HHHIII", 1, 1, 2, 1, 0, 0),
    "a huge count": block(272, 2, 2**32 - 1, 8),
    "a huge count of rationals": block(272, 5, 2**32 - 1, 8),
    "values beyond the end": block(272, 2, 8, 31),
    "a huge IFD": struct.pack("<2sHIH", b"II", 42, 8, 65535) + bytes(65535 * 12 + 4),
    "a BigTIFF with a huge IFD": struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, 2**64 - 1) + bytes(40),
    "a BigTIFF whose IFD is far off": struct.pack("<2sHHHQ", b"II", 43, 8, 0, 2**64 - 1) + bytes(40),
}


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED)
def test_damage_is_left_alone(damaged: bytes, tmp_path: Path) -> None:
    path = vips_tiff(tmp_path / "a.tif")
    before = path.read_bytes()
    add_tiff_exif(path, damaged)
    assert path.read_bytes() == before
    path.write_bytes(damaged.removeprefix(b"Exif\0\0"))
    assert read_tiff_exif(path) is None


@pytest.mark.parametrize("pointer", [0, 8, 26, 44, 56, 2**32 - 1])
def test_a_stale_interoperability_pointer_costs_nothing_else(pointer: int, tmp_path: Path) -> None:
    main = struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, EXIF, 4, 1, 26, 0)
    exif = struct.pack("<HHHIIHHIII", 2, 0x8827, 3, 1, 400, INTEROPERABILITY, 4, 1, pointer, 0)
    path = vips_tiff(tmp_path / "a.tif")
    other = struct.pack("<HHHI4sI", 1, 271, 2, 2, b"A\0", 0)  # at 56
    add_tiff_exif(path, main + exif + other)
    assert loaded(read_tiff_exif(path)).get_ifd(EXIF) == {0x8827: 400}


@pytest.mark.parametrize(("kind", "count"), [(0, 1), (14, 3), (999, 2**32 - 1), (2, 0), (13, 1)])
def test_fields_of_unknown_types_are_left_out(kind: int, count: int, tmp_path: Path) -> None:
    path = vips_tiff(tmp_path / "a.tif")
    add_tiff_exif(path, block(272, kind, count, 7))
    assert dict(loaded(read_tiff_exif(path))) == {271: "Own"}


def test_a_file_too_long_for_its_offsets_is_left_alone(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", "II")
    with path.open("r+b") as file:
        file.truncate(2**32)  # a hole, which takes no room on the disk
    add_tiff_exif(path, exif_of().tobytes())
    assert path.stat().st_size == 2**32


def mutants(data: bytes, number: int) -> list[bytes]:
    """Copies with some bytes changed, mostly to extremes, and cut at times."""
    chance = random.Random(0)
    found = []
    for _ in range(number):
        mutant = bytearray(data)
        for _ in range(chance.randint(1, 6)):
            mutant[chance.randrange(len(mutant))] = chance.choice((0, 1, 4, 8, 255, chance.randrange(256)))
        found.append(bytes(mutant[: chance.randint(8, len(data))] if chance.random() < 0.2 else mutant))
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reading_survives_any_damage(layout: str, tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", layout)
    add_tiff_exif(path, exif_of().tobytes())
    kept = 0
    for mutant in mutants(path.read_bytes(), 70):
        path.write_bytes(mutant)
        found = read_tiff_exif(path)
        if found is not None:
            kept += 1
            path.write_bytes(found[6:])
            assert read_tiff_exif(path) == found  # well-formed, and complete
    assert 0 < kept < 70


@pytest.mark.parametrize("order", ["<", ">"])
def test_no_block_harms_the_picture(order: str, tmp_path: Path) -> None:
    path = vips_tiff(tmp_path / "a.tif")
    before, added = path.read_bytes(), 0
    for mutant in [*mutants(exif_of(order).tobytes(), 50), random.Random(1).randbytes(500)]:
        path.write_bytes(before)
        add_tiff_exif(path, mutant)
        if path.read_bytes() != before:
            added += 1
            np.testing.assert_array_equal(pyvips.Image.new_from_file(str(path), fail_on="error").numpy(), PIXELS)
    assert 0 < added < 51


def test_adding_survives_any_damage_of_the_file(tmp_path: Path) -> None:
    path, exif = tmp_path / "a.tif", exif_of().tobytes()
    for mutant in mutants(tiff(path, "II").read_bytes(), 70):
        path.write_bytes(mutant)
        add_tiff_exif(path, exif)
        assert path.read_bytes()[8 : len(mutant)] == mutant[8:]
