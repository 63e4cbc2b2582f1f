"""Picture files to arrays, with depth, transparency, colour profile and EXIF."""

from __future__ import annotations

import io
import itertools
import mmap
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyvips
from numpy.typing import NDArray

from bgai.errors import BgaiError, ImageError, OutputError
from bgai.mapped import forget, mapped_file
from bgai.pictures.gain_map import GainMap, find_gain_map, mentions_gain_map
from bgai.pictures.png_chunks import Chunk, has_resolution, is_animated, read_chunks
from bgai.pictures.tiff_exif import read_tags, read_tiff_exif
from bgai.pictures.xmp import without_stale_fields
from bgai.types import Pixels

INPUT_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".avif")
TIFF_SUFFIXES = (".tif", ".tiff")
_GREY = ("b-w", "grey16")
_RGB = ("srgb", "rgb", "rgb16")
_KEPT_BLOBS = ("icc-profile-data", "exif-data", "xmp-data", "iptc-data")
_MOST_IN_MEMORY = 2**26  # bytes of a picture
_BYTES_AT_ONCE = 2**15  # larger blocks leave gaps in the heap, a third of the picture in all
_MOST_OF_HEADERS = 2**20  # bytes of a JPEG file before its pixels
_MOST_OF_BOXES = 2**16  # bytes of an AVIF or JPEG file in which such things are looked for
# Pixels a millimetre that libvips gives pictures without a resolution.
_DEFAULT_RESOLUTIONS = (1.0, 2.83)
_EXTRA_SAMPLES, _UNSPECIFIED = 338, b"\0\0"  # TIFF 6.0, section 18
# Of photographs by phones: tags of a video behind the picture.
_MOTION = (b"GCamera:MotionPhoto", b"GCamera:MicroVideo")
_NOT_A_PICTURE = "not a picture, or a damaged one; expected PNG, JPEG, WebP, TIFF or AVIF"

DEFAULT_MAX_PIXELS = 200_000_000

# libvips would keep the last operations, and with them original files open.
pyvips.cache_set_max(0)


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture and what its file said about it.

    `pixels` is H x W (grey), H x W x 2 (grey, alpha), H x W x 3 or H x W x 4, uint8 or uint16, upright; alpha is
    not premultiplied. Those of a large picture may lie in a file without a name. `notes` tell what could not be kept as
    it was.
    """

    pixels: Pixels
    metadata: dict[str, tuple[int, Any]] = field(default_factory=dict)
    resolution: tuple[float, float] | None = None
    """Pixels per millimetre across and down; None if the file does not say."""
    chunks: tuple[Chunk, ...] = ()
    """Texts and colour chunks of PNG; the colours of AVIF as such chunks."""
    notes: tuple[str, ...] = ()
    gain_map: GainMap | None = None
    """What makes HDR of a JPEG."""

    def forget(self) -> None:
        """Give back the memory of what was looked at, if the pixels lie in a file."""
        if file := mapped_file(self.pixels):
            forget(file)


def read_size(path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int, int]:
    """Height, width and channels of a picture after it is turned upright, from its header alone.

    Raises:
        ImageError: As for `read_picture`, but for damage behind the header.
    """
    with _failure_of(path):
        image = _open(path, max_pixels, header_alone=True)
        height, width = image.height, image.width
        if image.get_typeof("orientation") and image.get("orientation") >= 5:
            height, width = width, height
        bands = 3 + image.hasalpha() if image.interpretation == "cmyk" else image.bands
        bands -= _has_unknown_channel(image, path)
        return height, width, bands


def read_picture(path: Path, max_pixels: int = DEFAULT_MAX_PIXELS, scratch: Path | None = None) -> Picture:
    """Decode a PNG, JPEG, WebP, TIFF or AVIF file.

    Args:
        path: The file.
        max_pixels: Refuse more.
        scratch: Folder on whose disk the pixels of a large picture may lie; None keeps them in memory.

    Raises:
        ImageError: The file is missing, empty, damaged, not a picture, larger than `max_pixels`, animated or of
            several pages, or its samples are neither 8 nor 16 bits.
        OutputError: The disk is full.
    """
    with _failure_of(path):
        image = _open(path, max_pixels)
        gain_map = _gain_map(image, path)
        image, pixels, notes = _decode(_visible(image, path), scratch, _notes(image, path, gain_map))
        with path.open("rb") as file:
            resolution, chunks = _resolution(image, file), _chunks(image, file)
        return Picture(pixels, _metadata(image, path), resolution, chunks, notes, gain_map)


def _visible(image: pyvips.Image, path: Path) -> pyvips.Image:
    """Without a last channel that TIFF's ExtraSamples calls neither transparency nor anything else."""
    return image[: image.bands - 1] if _has_unknown_channel(image, path) else image


def _has_unknown_channel(image: pyvips.Image, path: Path) -> bool:
    if not _loaded_by("tiff", image) or image.bands not in (2, 4) or image.interpretation == "cmyk":
        return False
    with path.open("rb") as file, suppress(ValueError):
        return read_tags(file, (_EXTRA_SAMPLES,)).get(_EXTRA_SAMPLES) == _UNSPECIFIED
    return False


def _loaded_by(kind: str, image: pyvips.Image) -> bool:
    loader: str = image.get("vips-loader")
    return loader.startswith(kind)


def _gain_map(image: pyvips.Image, path: Path) -> GainMap | None:
    if not (_loaded_by("jpeg", image) and mentions_gain_map(_headers(path))):
        return None
    return find_gain_map(path.read_bytes(), image.get("orientation") if image.get_typeof("orientation") else 1)


def _headers(path: Path) -> bytes:
    """Of a JPEG file."""
    with path.open("rb") as file:
        return file.read(_MOST_OF_HEADERS)


def _notes(image: pyvips.Image, path: Path, gain_map: GainMap | None) -> tuple[str, ...]:
    """What of the file is not in the picture, beside its pixels' kind."""
    notes = []
    if _has_unknown_channel(image, path):
        notes.append("a further channel, which the file does not call transparency, was left out")
    if _loaded_by("jpeg", image):
        head = _headers(path)
        if any(name in head for name in _MOTION):
            notes.append("the video of the motion photo was left out")
        if mentions_gain_map(head) and not gain_map:
            notes.append("the gain map cannot be read and was left out: the output has no HDR")
    return tuple(notes)


def _resolution(image: pyvips.Image, file: BinaryIO) -> tuple[float, float] | None:
    """As in `Picture`: where a file does not say, libvips takes a default."""
    known = image.get_typeof("resolution-unit") or has_resolution(file)
    return (image.xres, image.yres) if known or round(image.xres, 2) not in _DEFAULT_RESOLUTIONS else None


def _chunks(image: pyvips.Image, file: BinaryIO) -> tuple[Chunk, ...]:
    """As in `Picture`."""
    if _loaded_by("heif", image):
        file.seek(0)
        _, found, colours = file.read(_MOST_OF_BOXES).partition(b"colrnclx")
        # Primaries and transfer in 16 bits each; the pixels are RGB of the full range by now (ITU-T H.273).
        return ((b"cICP", bytes((colours[1], colours[3], 0, 1))),) if found and len(colours) > 3 else ()
    return read_chunks(file)


def read_xmp(path: Path) -> bytes | None:
    """The XMP packet of a picture file of any size; None if it has none, or is no picture."""
    try:
        with _failure_of(path):
            image = _open(path, max_pixels=2**62, header_alone=True)
            return bytes(image.get("xmp-data")) if image.get_typeof("xmp-data") else None
    except ImageError:
        return None


@contextmanager
def _failure_of(name: Path | str) -> Iterator[None]:
    """Whatever reading a picture raises is an error of that picture, so that a batch goes on with the next one."""
    try:
        yield
    except (BgaiError, MemoryError):
        raise
    except pyvips.Error as error:
        raise ImageError(f"{name}: damaged or cut short: {reason(error)}") from error
    except OSError as error:
        raise ImageError(f"{name}: cannot be read: {error.strerror or error}") from error
    except Exception as error:
        raise ImageError(f"{name}: cannot be read: {type(error).__name__}: {error}") from error


def _decode(
    image: pyvips.Image, scratch: Path | None = None, notes: Sequence[str] = ()
) -> tuple[pyvips.Image, Pixels, tuple[str, ...]]:
    """The image turned upright, which is good for its metadata alone, its pixels, and notes as in `Picture`."""
    notes = list(notes)
    orientation = image.get("orientation") if image.get_typeof("orientation") else 1
    if image.interpretation == "cmyk":
        image = image.icc_transform("srgb", embedded=True, depth=16 if image.format == "ushort" else 8)
        notes.append("CMYK was converted to sRGB")
    if image.get_typeof("heif-bitdepth") and (depth := image.get("heif-bitdepth")) > 8:
        # libvips puts 10 and 12 bits in the upper part of 16.
        image = (image * (65535 / ((2**depth - 1) << (16 - depth)))).rint().cast("ushort")
    bands = () if image.bands == 1 else (image.bands,)
    dtype = np.dtype(np.uint16 if image.format == "ushort" else np.uint8)
    size = image.height * image.width * image.bands * dtype.itemsize
    samples = _on_disk(image, scratch) if scratch and size > _MOST_IN_MEMORY else _in_memory(image, size)
    pixels = np.frombuffer(samples, dtype).reshape(image.height, image.width, *bands)
    return image.autorot(), _upright(pixels, orientation), tuple(notes)


def _samples(image: pyvips.Image) -> Iterator[bytes]:
    """What an image holds, some rows at a time, so that there is no second copy of a large one.

    A region is worked out without the threads of libvips, which do not survive a fork: a process that was forked off
    would wait for them for ever.
    """
    region = pyvips.Region.new(image)
    rows = max(1, _BYTES_AT_ONCE // (image.width * image.bands))
    for top in range(0, image.height, rows):
        yield region.fetch(0, top, image.width, min(rows, image.height - top))


def _in_memory(image: pyvips.Image, size: int) -> NDArray[np.uint8]:
    samples, start = np.empty(size, np.uint8), 0
    for part in _samples(image):
        samples[start : start + len(part)] = np.frombuffer(part, np.uint8)
        start += len(part)
    return samples


def _on_disk(image: pyvips.Image, folder: Path) -> mmap.mmap:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            for part in _samples(image):
                file.write(part)
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise OutputError(f"{folder}: no place for the pixels of a large picture: {error.strerror or error}") from None


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """A view, turned as the orientation of EXIF (2.32, 4.6.5.A) says."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _metadata(image: pyvips.Image, path: Path) -> dict[str, tuple[int, Any]]:
    """Profile, EXIF, XMP and IPTC of an upright image, by libvips' type and name."""
    metadata = {}
    for name in _field_names(image):
        if name in _KEPT_BLOBS or name.startswith("exif-"):
            with suppress(UnicodeDecodeError):  # a field of EXIF in an encoding that it does not tell
                metadata[name] = (image.get_typeof(name), image.get(name))
    if _loaded_by("tiff", image) and (exif := read_tiff_exif(path)):  # which libvips leaves alone
        metadata["exif-data"] = (pyvips.GValue.blob_type, exif)
    if "xmp-data" in metadata:
        kind, xmp = metadata["xmp-data"]
        metadata["xmp-data"] = (kind, without_stale_fields(bytes(xmp)))
    if "exif-data" in metadata:
        kind, exif = metadata["exif-data"]
        metadata["exif-data"] = (kind, _without_thumbnail(exif))
        metadata["orientation"] = (pyvips.GValue.gint_type, 1)
    return metadata


def _field_names(image: pyvips.Image) -> list[str]:
    """As `image.get_fields()`, which fails if a name is not UTF-8: a keyword of PNG is part of one, in Latin-1."""
    names = []
    array = pyvips.vips_lib.vips_image_get_fields(image.pointer)
    for index in itertools.count():
        if array[index] == pyvips.ffi.NULL:
            break
        names.append(pyvips.ffi.string(array[index]).decode("utf-8", "replace"))
        pyvips.glib_lib.g_free(array[index])
    pyvips.glib_lib.g_free(array)
    return names


def _without_thumbnail(exif: bytes) -> bytes:
    """Cut the link from an EXIF block's first directory to the second, which describes a thumbnail."""
    order = {b"II": "little", b"MM": "big"}.get(exif[6:8])
    if order not in ("little", "big"):
        return exif

    def number(start: int, size: int) -> int:
        return int.from_bytes(exif[start : start + size], order)  # type: ignore[arg-type]

    directory = 6 + number(10, 4)
    link = directory + 2 + 12 * number(directory, 2)
    return exif[:link] + bytes(4) + exif[link + 4 :] if link + 4 <= len(exif) else exif


def read_rgb8(path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode a picture as H x W x 3 uint8; grey is repeated, alpha dropped, 16 bits are rounded to 8.

    Works in forked processes too, but for WebP.
    """
    with _failure_of(path):
        return _rgb8(_decode(_open(path, max_pixels))[1])


def decode_rgb8(data: bytes, name: str) -> NDArray[np.uint8]:
    """As `read_rgb8`, from the bytes of a picture file; `name` stands for it in errors.

    Raises:
        ImageError: As for `read_picture`.
    """
    with _failure_of(name):
        file = io.BytesIO(data)
        animated = is_animated(file)
        image = _load(file, name)
        _check_kind(image, name, DEFAULT_MAX_PIXELS, animated)
        return _rgb8(_decode(image)[1])


def _rgb8(pixels: Pixels) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        grey = pixels if pixels.ndim == 2 else pixels[..., 0]
        return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8, copy=False)
    return np.ascontiguousarray(pixels[..., :3]).astype(np.uint8, copy=False)


def _open(path: Path, max_pixels: int, *, header_alone: bool = False) -> pyvips.Image:
    """Open a file by its header and refuse what this package does not enlarge."""
    with open_picture(path) as file:
        if not file.read(1):
            raise ImageError(f"{path}: the file is empty")
        animated = is_animated(file)
        image = _load(file, path, header_alone)
    _check_kind(image, path, max_pixels, animated)
    return image


def open_picture(path: Path) -> BinaryIO:
    """Open a file, but nothing that one might wait for.

    Raises:
        ImageError: It is a pipe, a socket or a device.
        OSError: It cannot be read.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ImageError(f"{path}: not a file but a pipe, a socket or a device")
    return path.open("rb")


def _load(file: BinaryIO, name: Path | str, header_alone: bool = False) -> pyvips.Image:
    """Have the loader for the file's first bytes open it; libvips' own choice has many loaders for formats like SVG.

    libvips gets no names, from whose ends it takes options, but descriptors or bytes.
    """
    file.seek(0)
    kind = _kind(file.read(12))
    file.seek(0)
    if not kind:
        raise ImageError(f"{name}: not a picture of a kind that is read; expected PNG, JPEG, WebP, TIFF or AVIF")
    # Without `fail_on`, a picture that ends early would be filled up with grey.
    options = {"access": "sequential", "fail_on": "error"}
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
        raise ImageError(f"{name}: {_NOT_A_PICTURE}") from error


def _kind(head: bytes) -> str:
    """libvips' name of the format of a file that begins so, if it is one of those that are read, or nothing."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"RIFF") and head.endswith(b"WEBP"):
        return "webp"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "tiff"
    if head[4:8] == b"ftyp":
        return "heif"
    return ""


def _check_kind(image: pyvips.Image, path: Path | str, max_pixels: int, animated: bool) -> None:
    """Refuse an opened image that this package does not enlarge."""
    if image.width * image.height > max_pixels:
        raise ImageError(
            f"{path}: {image.width} x {image.height} is more than the limit of {max_pixels / 1e6:g} megapixels;"
            " if you trust the file, allow more",
            parameter="max_megapixels",
        )
    if animated or (image.get_typeof("n-pages") and image.get("n-pages") > 1):
        raise ImageError(f"{path}: an animation or a file of several pages; extract its pages and enlarge those")
    if image.format not in ("uchar", "ushort"):
        raise ImageError(f"{path}: samples are of type {image.format}; expected 8 or 16 bits")
    if image.interpretation not in (*_GREY, *_RGB, "cmyk") or image.bands > 4 + (image.interpretation == "cmyk"):
        raise ImageError(
            f"{path}: {image.bands} bands of {image.interpretation}; expected grey, RGB or CMYK: make it RGB first"
        )


def reason(error: pyvips.Error) -> str:
    """The line of libvips' own words that says most: the system's, or else the first."""
    lines = [line.strip() for line in str(error.detail).splitlines() if line.strip()]
    system = [line.removeprefix("system error: ") for line in lines if line.startswith("system error: ")]
    return next(iter(system + lines), "no reason given")
