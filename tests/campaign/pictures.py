"""Damaged pictures, read and enlarged."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image
from support import save_repeating_graph, texture

from bgai.pictures.reading import read_picture, read_size, read_xmp
from bgai.upscaling.files import upscale_file
from bgai.upscaling.recipe import read_recipe
from bgai.upscaling.upscaler import Upscaler
from campaign.mutations import cut, damaged, flipped
from campaign.runner import FaultError

_MOST_PIXELS = 1_000_000
_CHUNKS = (b"iCCP", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"pHYs", b"gAMA", b"cHRM", b"cICP", b"tIME", b"sRGB", b"sBIT")
_OUTPUTS = (".png", ".jpg", ".webp", ".tif")


def _originals() -> dict[str, bytes]:
    """Small pictures of all kinds that are read, by name."""
    rgb, deep = texture(18, 24), texture(18, 24, seed=1).astype(np.uint16) * 257
    rgba, grey = texture(18, 24, 4), texture(18, 24, 1)[..., 0]
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x011A] = 6, "a picture", 300.0
    large = texture(150, 200)

    def pillow(pixels: NDArray[np.uint8], format: str, **settings: Any) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format, **settings)
        return file.getvalue()

    def vips(pixels: NDArray[Any], suffix: str, **settings: Any) -> bytes:
        image = pyvips.Image.new_from_array(pixels)
        kind = ("grey16" if pixels.ndim == 2 else "rgb16") if pixels.dtype == np.uint16 else None
        data: bytes = (image.copy(interpretation=kind) if kind else image).write_to_buffer(suffix, **settings)
        return data

    palette = io.BytesIO()
    Image.fromarray(rgb).quantize(9).save(palette, "png", transparency=3)
    return {
        "rgb.png": pillow(rgb, "png", exif=exif, dpi=(300, 300)),
        "rgba.png": pillow(rgba, "png"),
        "grey.png": pillow(grey, "png"),
        "palette.png": palette.getvalue(),
        "deep.png": vips(deep, ".png"),
        "interlaced.png": vips(deep, ".png", interlace=True),
        "plain.jpg": pillow(rgb, "jpeg", quality=90, exif=exif),
        "progressive.jpg": pillow(large, "jpeg", quality=70, progressive=True, dpi=(72, 72)),
        "grey.jpg": pillow(grey, "jpeg"),
        "lossy.webp": pillow(rgb, "webp", quality=80, exif=exif),
        "lossless.webp": pillow(rgba, "webp", lossless=True),
        "plain.tif": pillow(rgb, "tiff"),
        "packed.tif": vips(deep, ".tif", compression="deflate", predictor="horizontal"),
        "lzw.tif": pillow(rgba, "tiff", compression="tiff_lzw"),
        "tiles.tif": vips(large, ".tif", tile=True, tile_width=64, tile_height=64, compression="lzw"),
        "jpeg.tif": vips(large, ".tif", compression="jpeg"),
        "small.avif": pillow(rgb, "avif"),
    }


class Pictures:
    """Bits flipped, parts cut off, moved, doubled or invented, in files of all formats."""

    title = "damaged pictures, read, and one in eight of those accepted enlarged"
    seconds = 60.0

    def __init__(self, folder: Path) -> None:
        self._contents = _originals()
        self._pixels = {}
        for name, content in self._contents.items():
            (folder / name).write_bytes(content)
            self._pixels[name] = read_picture(folder / name).pixels
        save_repeating_graph(folder / "twice.onnx", 0.0)
        self._upscaler = Upscaler(weights=folder / "twice.onnx", engine="openvino")

    def attempt(self, random: Random, folder: Path) -> bool:
        name = random.choice(sorted(self._contents))
        change, exact = random.choice(_CHANGES)
        content = change(self._contents[name], random)
        source = folder / random.choice((name, name, name, "other.jpg", "other.png"))
        source.write_bytes(content)
        # Checksums of PNG tell each damage. Where a file ends early, pixels are missing, whatever the format. EXIF may
        # be damaged, and with it the orientation.
        exact = exact or (name.endswith(".png") and change is flipped)
        read_xmp(source)
        picture = read_picture(source, _MOST_PIXELS)
        _check_size(source, picture.pixels)
        if exact and not any(_same(picture.pixels, turned) for turned in _turned(self._pixels[name])):
            raise FaultError(f"{name}, {change.__name__}: accepted with other pixels")
        if not random.randrange(8) and picture.pixels.size < 200_000:
            self._enlarge(source, picture.pixels, random)
        if source.read_bytes() != content:
            raise FaultError("the original was changed")
        return True

    def _enlarge(self, source: Path, pixels: NDArray[Any], random: Random) -> None:
        target = source.parent / "out" / f"big{random.choice(_OUTPUTS)}"
        try:
            upscale_file(source, target, upscaler=self._upscaler)
        finally:
            left = [path.name for path in target.parent.glob("*")] if target.parent.exists() else []
            if left not in ([], [target.name]):
                raise FaultError(f"leaves {left}")
        enlarged = read_picture(target).pixels
        expected = self._upscaler.upscale(np.ascontiguousarray(pixels))
        if enlarged.shape[:2] != expected.shape[:2]:
            raise FaultError(f"enlarged to {enlarged.shape} instead of {expected.shape}")
        if target.suffix in (".png", ".tif") and not _same(enlarged, expected):
            raise FaultError("enlarged with wrong pixels")
        if read_recipe(target) is None:
            raise FaultError("the output does not say what made it")


def _check_size(source: Path, pixels: NDArray[Any]) -> None:
    height, width, channels = read_size(source, _MOST_PIXELS)
    found = (*pixels.shape[:2], pixels.shape[2] if pixels.ndim == 3 else 1)
    if (height, width, channels) != found:
        raise FaultError(f"the header says {(height, width, channels)}, the pixels are {found}")


def _turned(pixels: NDArray[Any]) -> list[NDArray[Any]]:
    """In all orientations that EXIF can name."""
    return [np.rot90(each, turns) for each in (pixels, pixels[:, ::-1]) for turns in range(4)]


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and bool((one == other).all())


def _with_chunk(content: bytes, random: Random) -> bytes:
    """With a chunk of PNG or a segment of JPEG that says something about the pixels, or nonsense."""
    body = random.choice(
        (random.randbytes(random.choice((0, 1, 9, 40))), b"Comment\0\xff\xfe", b"icc\0\0x\x9c", b"\0" * 9)
    )
    if content.startswith(b"\x89PNG"):
        kind = random.choice(_CHUNKS)
        at = random.choice((33, len(content) - 12))
        chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        return content[:at] + chunk + content[at:]
    if content.startswith(b"\xff\xd8"):
        marker = random.choice((*range(0xE1, 0xEE), 0xEF, 0xFE))  # APP14 says what the colours are
        body = (
            random.choice((b"", b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0\1\1", b"MPF\0")) + body
        )
        return content[:2] + b"\xff" + bytes((marker,)) + struct.pack(">H", len(body) + 2) + body + content[2:]
    return content + body


def _with_checksums(content: bytes, random: Random) -> bytes:
    """A PNG that is damaged within a chunk whose checksum is right again."""
    if not content.startswith(b"\x89PNG"):
        return damaged(content, random)
    chunks, at = [], 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += length + 12
    number = random.randrange(len(chunks))
    chunks[number] = chunks[number][0], damaged(chunks[number][1], random)
    return content[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


# Each with whether what is accepted must have the original's pixels.
_CHANGES: tuple[tuple[Callable[[bytes, Random], bytes], bool], ...] = (
    (damaged, False),
    (damaged, False),
    (flipped, False),
    (cut, True),
    (_with_chunk, True),
    (_with_checksums, False),
)
