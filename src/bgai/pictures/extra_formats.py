"""HEIC and JPEG XL, which need the extras `heic` and `jxl`: files to images of libvips, with what is said of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyvips
from numpy.typing import NDArray

from bgai.errors import ImageError, MissingExtraError
from bgai.pictures.size_limit import check_size

JXL_CODESTREAM, JXL_CONTAINER = b"\xff\n", b"\0\0\0\x0cJXL \r\n\x87\n"
_MOST_OF_HEADERS = 2**16
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # of width to height (ISO/IEC 18181-1, 6.3)
_EXIF = b"Exif\0\0"


def load_heic(file: BinaryIO, name: Path | str, max_pixels: int, header_alone: bool) -> pyvips.Image:
    """Open a HEIC file.

    Args:
        file: At its start.
        name: Stands for the file in errors.
        max_pixels: Decode no more.
        header_alone: Leave the pixels black.

    Raises:
        MissingExtraError: The extra is not installed.
        ImageError: It is damaged.
    """
    try:
        import pi_heif
    except ImportError as error:
        raise MissingExtraError("heic", f"{name}: HEIC") from error
    try:
        heif = pi_heif.open_heif(file, convert_hdr_to_8bit=False)
        width, height = heif.size
        channels = 4 if heif.has_alpha else 1 if heif.mode[0] == "L" else 3
        check_size(width, height, name, max_pixels)
        if header_alone:
            return pyvips.Image.black(width, height, bands=channels).copy(interpretation=_interpretation(channels, 8))
        image = _as_image(np.array(heif))  # a copy: the memory of the original goes with `heif`
    except (ValueError, RuntimeError, EOFError, SyntaxError) as error:
        raise ImageError(f"{name}: damaged or cut short: {error}") from error
    info = heif.info
    if (depth := info["bit_depth"]) > 8:
        image.set_type(pyvips.GValue.gint_type, "heif-bitdepth", depth)
    return _with_metadata(image, info.get("icc_profile"), info.get("exif"), info.get("xmp"))


def load_jxl(file: BinaryIO, name: Path | str, max_pixels: int, header_alone: bool) -> pyvips.Image:
    """Open a JPEG XL file, as `load_heic` does; one that was made from a JPEG gives that."""
    try:
        import pillow_jxl
    except ImportError as error:
        raise MissingExtraError("jxl", f"{name}: JPEG XL") from error
    try:
        width, height = jxl_size(file.read(_MOST_OF_HEADERS))
    except ValueError as error:
        raise ImageError(f"{name}: damaged or cut short: no header of JPEG XL") from error
    check_size(width, height, name, max_pixels)
    if header_alone:
        return pyvips.Image.black(width, height, bands=3).copy(interpretation="srgb")
    file.seek(0)
    try:
        is_jpeg, info, data, profile, boxes = pillow_jxl.Decoder(num_threads=0)(file.read())
    except (ValueError, RuntimeError, OSError) as error:
        raise ImageError(f"{name}: damaged or cut short: {error}") from error
    if is_jpeg:
        return pyvips.Image.jpegload_buffer(data, fail_on="error")
    channels = info.num_channels + info.has_alpha_channel
    samples = len(data) // (info.width * info.height * channels)
    if samples > 2 or info.mode == "F;16":
        raise ImageError(f"{name}: JPEG XL of floating-point numbers; expected 8 or 16 bits")
    pixels = np.frombuffer(data, np.uint16 if samples == 2 else np.uint8)
    by_kind = {box.box_type: box.data for box in boxes}
    exif = by_kind.get(b"Exif", b"")
    if exif[4:8] in (b"II*\0", b"MM\0*"):  # the offset before it (ISO/IEC 18181-2), which some encoders leave out
        exif = exif[4:]
    image = _as_image(pixels.reshape(info.height, info.width, channels))
    return _with_metadata(image, profile, exif, by_kind.get(b"xml "))


def _as_image(pixels: NDArray[Any]) -> pyvips.Image:
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    deep = pixels.dtype == np.uint16
    image = pyvips.Image.new_from_memory(
        np.ascontiguousarray(pixels).data, width, height, channels, "ushort" if deep else "uchar"
    )
    return image.copy(interpretation=_interpretation(channels, 16 if deep else 8))


def _interpretation(channels: int, bits: int) -> str:
    if channels < 3:
        return "b-w" if bits == 8 else "grey16"
    return "srgb" if bits == 8 else "rgb16"


def _with_metadata(image: pyvips.Image, profile: bytes | None, exif: bytes | None, xmp: bytes | None) -> pyvips.Image:
    if exif:  # in one form or the other
        exif = _EXIF + exif.removeprefix(_EXIF)
    for name, data in (("icc-profile-data", profile), ("exif-data", exif), ("xmp-data", xmp)):
        if data:
            image.set_type(pyvips.GValue.blob_type, name, bytes(data))
    # Decoders turn pictures upright as the file's own headers say; EXIF, which libvips looks into, does not count.
    image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    return image


def jxl_size(head: bytes) -> tuple[int, int]:
    """Width and height of an upright JPEG XL picture, from the start of its file (ISO/IEC 18181-1, annexes B and D).

    Raises:
        ValueError: It has no such header.
    """
    codestream = b"".join(_parts(head)) if head.startswith(JXL_CONTAINER) else head
    if not codestream.startswith(JXL_CODESTREAM):
        raise ValueError("no JPEG XL")
    bits = _Bits(codestream[2:40])
    small = bits.read(1)
    height = _side(bits, small)
    ratio = bits.read(3)
    if ratio:
        numerator, denominator = _RATIOS[ratio - 1]
        width = height * numerator // denominator
    else:
        width = _side(bits, small)
    turned = not bits.read(1) and bits.read(1) and bits.read(3) >= 4  # all_default, extra_fields, orientation - 1
    return (height, width) if turned else (width, height)


def _side(bits: _Bits, small: int) -> int:
    return 8 * (1 + bits.read(5)) if small else 1 + bits.read((9, 13, 18, 30)[bits.read(2)])


def _parts(head: bytes) -> Iterator[bytes]:
    """The contents of the boxes of a container that hold the codestream, or its parts."""
    at = 0
    while at + 8 <= len(head):
        size, kind, start = int.from_bytes(head[at : at + 4], "big"), head[at + 4 : at + 8], at + 8
        if size == 1:
            size, start = int.from_bytes(head[at + 8 : at + 16], "big"), at + 16
        end = at + max(size, 8) if size else len(head)
        if kind in (b"jxlc", b"jxlp"):
            yield head[start + 4 * (kind == b"jxlp") : end]
        at = end


class _Bits:
    """Reads numbers from the lowest bit of each byte."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("cut short")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value
