"""Animated PNG: frames as they are to be seen, and files made of frames."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from picture_support import save_by_vips
from PIL import Image
from support import texture

from bgai.pictures.animation import Animation
from bgai.pictures.png_animation import PngAnimation, PngFrames
from bgai.pictures.png_chunks import SIGNATURE, heads, pack_chunk

KEEP, CLEAR, RESTORE = 0, 1, 2
SOURCE, OVER = 0, 1


def chunks_of(path: Path) -> list[tuple[bytes, bytes]]:
    with path.open("rb") as file:
        return [(kind, file.read(length)) for kind, length in heads(file)]


def frame(pixels: NDArray[Any], left: int, top: int, disposal: int, blending: int, folder: Path) -> dict[str, Any]:
    save_by_vips(pixels, folder / "frame.png")
    data = b"".join(data for kind, data in chunks_of(folder / "frame.png") if kind == b"IDAT")
    control = struct.pack(">IIIIHHBB", pixels.shape[1], pixels.shape[0], left, top, 1, 30, disposal, blending)
    return {"control": control, "data": data}


def apng(canvas: NDArray[Any], frames: list[dict[str, Any]], folder: Path, hidden: bool = False) -> io.BytesIO:
    """With the canvas as a picture that is no frame, if it is hidden."""
    save_by_vips(canvas, folder / "canvas.png")
    kept = [(kind, data) for kind, data in chunks_of(folder / "canvas.png") if kind in (b"IHDR", b"IDAT")]
    parts = [SIGNATURE, pack_chunk(*kept[0]), pack_chunk(b"acTL", struct.pack(">II", len(frames), 3))]
    if hidden:
        parts += [pack_chunk(*chunk) for chunk in kept[1:]]
    number = 0
    for index, each in enumerate(frames):
        parts.append(pack_chunk(b"fcTL", number.to_bytes(4, "big") + each["control"]))
        number += 1
        if index == 0 and not hidden:
            parts.append(pack_chunk(b"IDAT", each["data"]))
            continue
        half = len(each["data"]) // 2
        for data in (each["data"][:half], each["data"][half:]):
            parts.append(pack_chunk(b"fdAT", number.to_bytes(4, "big") + data))
            number += 1
    return io.BytesIO(b"".join((*parts, pack_chunk(b"IEND", b""))))


def found(file: io.BytesIO) -> list[NDArray[Any]]:
    return [pixels.copy() for pixels in PngAnimation(file).frames()]


def block(colour: tuple[int, ...], height: int = 2, width: int = 3, dtype: Any = np.uint8) -> NDArray[Any]:
    return np.full((height, width, len(colour)), colour, dtype)


def test_disposal_and_blending(tmp_path: Path) -> None:
    red, green, blue, half = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (0, 0, 255, 51)
    canvas = block(red, 6, 8)
    frames = [
        frame(canvas, 0, 0, KEEP, SOURCE, tmp_path),
        frame(block(green), 1, 1, CLEAR, OVER, tmp_path),
        frame(block(blue), 4, 3, RESTORE, OVER, tmp_path),
        frame(block(half), 0, 4, KEEP, OVER, tmp_path),
        frame(block(half), 0, 0, KEEP, SOURCE, tmp_path),
    ]
    first = canvas.copy()
    second = first.copy()
    second[1:3, 1:4] = green
    third = first.copy()
    third[1:3, 1:4] = 0
    cleared = third.copy()
    third[3:5, 4:7] = blue
    fourth = cleared.copy()
    fourth[4:6, 0:3] = (204, 0, 51, 255)
    fifth = fourth.copy()
    fifth[0:2, 0:3] = half
    for pixels, expected in zip(
        found(apng(canvas, frames, tmp_path)), (first, second, third, fourth, fifth), strict=True
    ):
        np.testing.assert_array_equal(pixels, expected)


def test_transparent_over_transparent(tmp_path: Path) -> None:
    """By hand: alpha 0.2 over 0.4 is 0.52, and colours count by their share of it."""
    canvas = block((100, 0, 0, 102), 4, 4)
    frames = [
        frame(canvas, 0, 0, KEEP, SOURCE, tmp_path),
        frame(block((0, 200, 0, 51), 4, 4), 0, 0, KEEP, OVER, tmp_path),
    ]
    _, mixed = found(apng(canvas, frames, tmp_path))
    np.testing.assert_array_equal(
        mixed[0, 0], (round(100 * 0.32 / 0.52), round(200 * 0.2 / 0.52), 0, round(255 * 0.52))
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_kinds_of_pixels(channels: int, dtype: type, tmp_path: Path) -> None:
    """A frame that is cleared leaves nothing there, even if its pixels have no alpha."""
    values = tuple(200 + 5 * index for index in range(channels))
    whole = block(values, 5, 6, dtype)
    whole = whole[..., 0] if channels == 1 else whole
    frames = [frame(whole, 0, 0, disposal, SOURCE, tmp_path) for disposal in (KEEP, KEEP)]
    first, _ = found(apng(whole, frames, tmp_path))
    np.testing.assert_array_equal(first, whole)
    small = frame(whole[:2, :2], 1, 1, KEEP, SOURCE, tmp_path)
    frames = [frame(whole, 0, 0, CLEAR, SOURCE, tmp_path), small]
    _, second = found(apng(whole, frames, tmp_path))
    assert second.dtype == dtype
    assert second.shape == (5, 6, channels + channels % 2)
    assert not second[0, 0].any()
    assert second[1, 1, 0] == 200


def test_a_picture_that_is_no_frame_is_not_shown(tmp_path: Path) -> None:
    canvas = block((9, 9, 9, 255), 6, 8)
    frames = [frame(block((0, 255, 0, 255)), left, 1, RESTORE, OVER, tmp_path) for left in (1, 4)]
    file = apng(canvas, frames, tmp_path, hidden=True)
    first, second = found(file)
    assert not first[0].any()
    assert first[1, 1, 1] == second[1, 4, 1] == 255
    assert not second[1, 1].any()
    animation = PngAnimation(file).animation
    assert animation.plays == 3
    assert animation.delays == pytest.approx((1000 / 30,) * 2)


def test_palettes_with_transparency(tmp_path: Path) -> None:
    """Which the frames share; what was transparent in a frame shows the one before."""
    first = Image.fromarray(texture(20, 30)).quantize(9)
    second = Image.fromarray(np.roll(np.array(first), 5, axis=1))
    second.putpalette(first.getpalette() or [])
    parts = []
    for name, image in (("0.png", first), ("1.png", second)):
        image.save(tmp_path / name, transparency=3, bits=8)
        parts.append(chunks_of(tmp_path / name))
    control = struct.pack(">IIIIHHBB", 30, 20, 0, 0, 1, 30, KEEP, OVER)
    data = SIGNATURE
    for kind, body in parts[0]:
        if kind == b"IDAT":
            data += pack_chunk(b"acTL", struct.pack(">II", 2, 0)) + pack_chunk(b"fcTL", bytes(4) + control)
        if kind == b"IEND":
            pixels = b"".join(body for kind, body in parts[1] if kind == b"IDAT")
            data += pack_chunk(b"fcTL", b"\0\0\0\1" + control) + pack_chunk(b"fdAT", b"\0\0\0\2" + pixels)
        data += pack_chunk(kind, body)
    one, both = found(io.BytesIO(data))
    below, above = (np.array(Image.open(tmp_path / name).convert("RGBA")) for name in ("0.png", "1.png"))
    for seen, expected in ((one, below), (both, np.where(above[..., 3:] > 0, above, below))):
        assert not expected[..., 3].all()
        np.testing.assert_array_equal(seen[..., 3], expected[..., 3])
        np.testing.assert_array_equal(seen[expected[..., 3] > 0], expected[expected[..., 3] > 0])


def sound(folder: Path) -> bytes:
    canvas = texture(12, 14)
    frames = [frame(texture(12, 14, seed=seed), 0, 0, KEEP, SOURCE, folder) for seed in range(3)]
    return apng(canvas, frames, folder).getvalue()


def test_damage_is_an_error(tmp_path: Path) -> None:
    data = sound(tmp_path)
    for wrong, message in (
        (data[: len(data) * 2 // 3], "checksum|of 3 frames|no pixels"),
        (data.replace(b"acTL\0\0\0\3", b"acTL\0\0\0\4", 1), "checksum"),
        (data[:-40] + b"\0\0" + data[-38:], "checksum"),
    ):
        with pytest.raises(ValueError, match=message):
            PngAnimation(io.BytesIO(wrong))


def test_a_frame_that_is_missing_is_an_error(tmp_path: Path) -> None:
    data = sound(tmp_path)
    places = [at for at in range(len(data)) if data[at : at + 4] == b"fcTL"]
    without = data[: places[1] - 4] + data[places[2] - 4 :]
    with pytest.raises(ValueError, match="a frame is missing"):
        PngAnimation(io.BytesIO(without))


def test_a_frame_beside_the_picture_is_an_error(tmp_path: Path) -> None:
    frames = [frame(block((1, 2, 3)), left, 0, KEEP, SOURCE, tmp_path) for left in (0, 1)]
    with pytest.raises(ValueError, match="lies beside the picture"):
        PngAnimation(apng(block((1, 2, 3)), frames, tmp_path))


def test_frames_are_put_into_a_file(tmp_path: Path) -> None:
    pixels = [texture(12, 14, seed=seed) for seed in range(3)]
    save_by_vips(pixels[0], tmp_path / "a.png")
    with (tmp_path / "a.png").open("rb+") as file:
        frames = PngFrames(file, Animation((100, 1000 / 30, 70_000), 7), 3, (14, 12))
        for part, left, top in ((pixels[1][2:7, 3:9], 3, 2), (pixels[2], 0, 0)):
            save_by_vips(part, tmp_path / "part.png")
            frames.add((tmp_path / "part.png").read_bytes(), left, top)
    image = Image.open(tmp_path / "a.png")
    assert (image.n_frames, image.info["loop"]) == (3, 7)  # type: ignore[attr-defined]
    second = pixels[0].copy()
    second[2:7, 3:9] = pixels[1][2:7, 3:9]
    for index, (expected, delay) in enumerate(zip((pixels[0], second, pixels[2]), (100, 100 / 3, 70_000), strict=True)):
        image.seek(index)
        np.testing.assert_array_equal(np.array(image.convert("RGB")), expected)
        assert image.info["duration"] == pytest.approx(delay)
