"""Which decoder opens a picture file, and what is refused.

The decoder is chosen by the file's first bytes and called by its name: libvips' own choice has many more, for formats
like SVG, and none of them is to see files of unknown origin. It gets descriptors or bytes and never names, from whose
ends it takes options.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import pyvips

from bgai.errors import ImageError
from bgai.pictures.animation import Animation
from bgai.pictures.bmp import read_bmp_header, read_bmp_pixels
from bgai.pictures.extra_formats import JXL_CODESTREAM, JXL_CONTAINER, load_heic, load_jxl
from bgai.pictures.gif_blocks import is_cut_short
from bgai.pictures.png_animation import PngAnimation
from bgai.pictures.png_chunks import has_wrong_checksum, is_animated
from bgai.pictures.size_limit import check_size
from bgai.pictures.tiff_exif import read_tags, whole_pages
from bgai.pictures.webp_animation import WebpAnimation
from bgai.types import Pixels

Kind = Literal["png", "jpeg", "webp", "tiff", "heif", "gif", "bmp", "heic", "jxl"]
"""Formats, as libvips names those that it reads; `heif` is AVIF."""
EXPECTED = "PNG, JPEG, WebP, TIFF, AVIF, GIF, BMP, HEIC or JPEG XL"

_GREY = ("b-w", "grey16")
_RGB = ("srgb", "rgb", "rgb16", "scrgb")
_CONVERTED = ("cmyk", "lab", "labs")
_FORMATS = ("uchar", "ushort", "float")
_OTHER_FORMATS = {"char": "8 bits, signed", "short": "16 bits, signed", "uint": "32 bits, unsigned"}
_OTHER_FORMATS |= {"int": "32 bits, signed", "double": "64 bits of floating point"}
_MOST_OF_HEADERS = 2**20  # bytes of a JPEG file before its pixels
_BITS, _SAMPLE_FORMAT, _PHOTOMETRIC = 258, 339, 262  # TIFF 6.0, section 8 and 19
_SAMPLE_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
_READ_TIFF = {*((bits, "unsigned") for bits in (1, 2, 4, 8, 16)), (16, "floating-point"), (32, "floating-point")}
_LAB = 8
# Words of decoders for a sound file of a kind that they do not know.
_UNKNOWN = ("unsupported", "not supported", "not implemented", "not configured", "no such", "unimplemented")


@dataclass(frozen=True, slots=True)
class Opened:
    """An image that is decoded when its pixels are asked for."""

    image: pyvips.Image
    kind: Kind
    notes: tuple[str, ...] = ()
    """What of the file is not in the image."""
    pages: tuple[int, ...] = (0,)
    """Where the pages of a TIFF lie among its directories."""
    directory: int = 0
    """Of the image."""
    animation: Animation | None = None
    """Whose first frame this is."""


class DamagedError(ImageError):
    """A picture is damaged, and may be decoded in part."""


def open_picture(path: Path) -> BinaryIO:
    """Open a file, but nothing that one might wait for.

    Raises:
        ImageError: It is a pipe, a socket or a device.
        OSError: It cannot be read.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ImageError(f"{path}: not a file but a pipe, a socket or a device")
    return path.open("rb")


def open_image(
    path: Path, max_pixels: int, *, page: int = 0, header_alone: bool = False, lenient: bool = False
) -> Opened:
    """Open a file by its header and refuse what this package does not enlarge.

    Args:
        path: The file.
        max_pixels: Refuse more.
        page: Of a TIFF, counted without reduced copies and masks.
        header_alone: Whether nothing but size and kind will be asked for.
        lenient: Whether pixels that cannot be decoded are left grey or black, instead of being an error.
    """
    with open_picture(path) as file:
        return open_stream(file, path, max_pixels, page=page, header_alone=header_alone, lenient=lenient)


def open_stream(
    file: BinaryIO,
    name: Path | str,
    max_pixels: int,
    *,
    page: int = 0,
    header_alone: bool = False,
    lenient: bool = False,
) -> Opened:
    """As `open_image`, of an open file; `name` stands for it in errors."""
    file.seek(0)
    head = file.read(64)
    if not head:
        raise ImageError(f"{name}: the file is empty")
    kind = kind_of(head)
    if not kind:
        raise ImageError(f"{name}: not a picture of a kind that is read; expected {EXPECTED}")
    try:
        pages = whole_pages(file, lenient) if kind == "tiff" else (0,)
        if not lenient:
            _check_whole(file, kind)
    except ValueError as error:
        raise DamagedError(f"{name}: damaged: {error}") from error
    file.seek(0)
    image = _load(file, kind, name, max_pixels, pages[page], header_alone, lenient)
    _check_kind(image, name, max_pixels)
    count = image.get("n-pages") if kind == "heif" and image.get_typeof("n-pages") else 1
    if count > 1 and head[8:12] == b"avis":
        raise ImageError(f"{name}: an animation in AVIF, of which frames are not read; save it as WebP or GIF")
    notes = (f"the main one of {count} pictures in the file",) if count > 1 else ()
    return Opened(image, kind, notes, pages, pages[page], _animation(file, kind, image, name, lenient))


def _check_whole(file: BinaryIO, kind: Kind) -> None:
    """Find damage that libvips passes over; raises ValueError."""
    if kind == "png" and has_wrong_checksum(file):
        raise ValueError("a checksum in it is wrong")
    if kind == "gif":
        file.seek(0)
        if is_cut_short(file.read()):
            raise ValueError("the file ends early")


def _animation(file: BinaryIO, kind: Kind, image: pyvips.Image, name: Path | str, lenient: bool) -> Animation | None:
    try:
        if kind == "png" and is_animated(file):
            animation = PngAnimation(file).animation
        elif kind not in ("gif", "webp") or not image.get_typeof("n-pages") or image.get("n-pages") < 2:
            return None
        elif kind == "webp":
            animation = WebpAnimation(file).animation
        else:
            animation = Animation(tuple(map(float, image.get("delay"))), image.get("loop"))
    except ValueError as error:
        if lenient:
            return None
        raise DamagedError(f"{name}: damaged: of its animation, {error}") from error
    return animation if animation.count > 1 else None


def read_frames(file: BinaryIO, kind: Kind) -> Iterator[Pixels]:
    """The frames of an animation as they are to be seen, H x W or H x W x channels; valid until the next is asked for.

    Raises:
        ValueError: They are damaged.
        pyvips.Error: They are damaged.
    """
    if kind == "png":
        yield from PngAnimation(file).frames()
    elif kind == "webp":
        yield from WebpAnimation(file).frames()
    else:
        yield from _gif_frames(file)


def _gif_frames(file: BinaryIO) -> Iterator[Pixels]:
    file.seek(0)
    image = pyvips.Image.gifload_buffer(file.read(), n=-1, access="sequential", fail_on="error")
    height, region = image.height // image.get("n-pages"), pyvips.Region.new(image)
    for top in range(0, image.height, height):
        samples = region.fetch(0, top, image.width, height)
        yield np.frombuffer(samples, np.uint8).reshape(height, image.width, image.bands)


def kind_of(head: bytes) -> Kind | None:
    """The format of a file that begins so, if it is one of those that are read."""
    starts: dict[Kind, tuple[bytes, ...]] = {
        "png": (b"\x89PNG\r\n\x1a\n",),
        "jpeg": (b"\xff\xd8\xff",),
        "tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        "gif": (b"GIF87a", b"GIF89a"),
        "bmp": (b"BM",),
        "jxl": (JXL_CODESTREAM, JXL_CONTAINER),
    }
    for kind, start in starts.items():
        if head.startswith(start):
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        return _brand(head)
    return None


def _brand(head: bytes) -> Kind | None:
    """By the main brand and compatible ones (ISO/IEC 14496-12, 4.3): AVIF is read by libvips, HEIC by an extra."""
    size = int.from_bytes(head[:4], "big")
    brands = {head[at : at + 4] for at in (8, *range(16, min(size, len(head)) - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return "heif"
    return "heic" if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1"} else None


def _load(
    file: BinaryIO, kind: Kind, name: Path | str, max_pixels: int, page: int, header_alone: bool, lenient: bool
) -> pyvips.Image:
    if kind == "bmp":
        return _load_bmp(file, name, max_pixels, header_alone)
    if kind in ("heic", "jxl"):
        return (load_heic if kind == "heic" else load_jxl)(file, name, max_pixels, header_alone)
    # Without `fail_on`, a picture that ends early would be filled up with grey.
    options = {"access": "sequential", "fail_on": "none" if lenient else "error", **({"page": page} if page else {})}
    try:
        if kind == "jpeg" and header_alone:
            with suppress(pyvips.Error):  # a header that is longer
                return pyvips.Image.jpegload_buffer(file.read(_MOST_OF_HEADERS), **options)
            file.seek(0)
        # The loaders of JPEG and WebP map a file into memory: if it were cut short meanwhile, the process would end.
        if kind in ("jpeg", "webp") or isinstance(file, io.BytesIO):
            return getattr(pyvips.Image, f"{kind}load_buffer")(file.read(), **options)
        return getattr(pyvips.Image, f"{kind}load_source")(pyvips.Source.new_from_descriptor(file.fileno()), **options)
    except pyvips.Error as error:
        if kind == "tiff":
            _check_tiff(file, name, page)
        raise ImageError(f"{name}: {explain(error, f'damaged: no whole header of {kind.upper()}')}") from error


def _load_bmp(file: BinaryIO, name: Path | str, max_pixels: int, header_alone: bool) -> pyvips.Image:
    header = read_bmp_header(file, name)
    across, down = header.resolution or (1.0, 1.0)
    check_size(header.width, header.height, name, max_pixels)
    if header_alone:
        image = pyvips.Image.black(header.width, header.height, bands=header.channels)
    else:
        pixels = read_bmp_pixels(file, header, name)
        image = pyvips.Image.new_from_memory(pixels.data, header.width, header.height, header.channels, "uchar")
    return image.copy(interpretation="srgb", xres=across, yres=down)


def _check_tiff(file: BinaryIO, name: Path | str, directory: int) -> None:
    """Refuse a sound TIFF in words that say why."""
    with suppress(ValueError):
        tags = read_tags(file, (_BITS, _SAMPLE_FORMAT, _PHOTOMETRIC), directory)
        bits, sample, photometric = (
            int.from_bytes(tags.get(tag, b"\1")[:2], "little") for tag in (_BITS, _SAMPLE_FORMAT, _PHOTOMETRIC)
        )
        kind = _SAMPLE_FORMATS.get(sample, "unknown")
        if (bits, kind) not in _READ_TIFF:
            raise ImageError(
                f"{name}: a TIFF of {bits} bits a sample ({kind}); expected 8 or 16, or 32 of floating point: convert"
                " it to 16 bits"
            )
        if photometric == _LAB and bits == 8:
            raise ImageError(
                f"{name}: a TIFF in CIE L*a*b* of 8 bits, which is not read; save it in RGB, or of 16 bits"
            )


def _check_kind(image: pyvips.Image, name: Path | str, max_pixels: int) -> None:
    """Refuse an opened image that this package does not enlarge."""
    check_size(image.width, image.height, name, max_pixels)
    if image.format not in _FORMATS and image.interpretation != "labs":
        found = _OTHER_FORMATS.get(image.format, "complex numbers")
        raise ImageError(f"{name}: samples of {found}; expected 8 or 16 bits, or 32 of floating point")
    cmyk = image.interpretation == "cmyk"
    if image.interpretation not in (*_GREY, *_RGB, *_CONVERTED) or image.bands > 4 + cmyk:
        raise ImageError(
            f"{name}: {image.bands} bands of {image.interpretation}; expected grey, RGB or CMYK: make it RGB first"
        )


def explain(error: pyvips.Error, otherwise: str) -> str:
    """libvips' reason where it does not know a sound file's kind; else, that the file is damaged, in these words."""
    words = reason(error)
    return f"of a kind that is not read: {words}" if any(each in words.lower() for each in _UNKNOWN) else otherwise


def reason(error: pyvips.Error) -> str:
    """The line of libvips' own words that says most: the system's, or else the first."""
    lines = [line.strip() for line in str(error.detail).splitlines() if line.strip()]
    system = [line.removeprefix("system error: ") for line in lines if line.startswith("system error: ")]
    return next(iter(system + lines), "no reason given")
