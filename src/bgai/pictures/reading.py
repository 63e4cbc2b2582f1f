"""Picture files to arrays, with depth, transparency, colour profile and EXIF."""

from __future__ import annotations

import atexit
import io
import itertools
import mmap
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyvips
from numpy.typing import NDArray

from bgai.errors import BgaiError, ImageError, OutputError
from bgai.mapped import forget, mapped_file
from bgai.pictures.animation import Animation
from bgai.pictures.decoders import (
    DamagedError,
    Opened,
    explain,
    kind_of,
    open_image,
    open_picture,
    open_stream,
    reason,
)
from bgai.pictures.decoders import read_frames as decode_frames
from bgai.pictures.gain_map import GainMap, find_gain_map, mentions_gain_map
from bgai.pictures.gif_blocks import read_gif_comments, read_gif_xmp
from bgai.pictures.jpeg_segments import comments
from bgai.pictures.png_chunks import COLOURS, Chunk, has_resolution, read_chunks
from bgai.pictures.size_limit import DEFAULT_MAX_PIXELS, check_total
from bgai.pictures.tiff_exif import read_tags, read_tiff_exif
from bgai.pictures.xmp import without_stale_fields
from bgai.types import Pixels, Size

INPUT_SUFFIXES: tuple[str, ...] = (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".avif")
INPUT_SUFFIXES += (".gif", ".bmp", ".dib", ".heic", ".heif", ".hif", ".jxl")
TIFF_SUFFIXES = (".tif", ".tiff")
_MOST_RESOLUTION = 100_000  # pixels per millimetre; more is damage, and beyond ten times as many libvips complains
_DTYPES = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}
_PROFILE = "icc-profile-data"
_KEPT_BLOBS = (_PROFILE, "exif-data", "xmp-data", "iptc-data")
_MOST_IN_MEMORY = 2**26  # bytes of a picture
_BYTES_AT_ONCE = 2**15  # larger blocks leave gaps in the heap, a third of the picture in all
_MOST_OF_HEADERS = 2**20  # bytes of a JPEG file before its pixels
_MOST_OF_BOXES = 2**16  # bytes of an AVIF or JPEG file in which such things are looked for
# Pixels a millimetre that libvips gives pictures without a resolution.
_DEFAULT_RESOLUTIONS = (1.0, 2.83)
_APPLE_GAIN_MAP = b"urn:com:apple:photo:2020:aux:hdrgainmap"
_EXTRA_SAMPLES, _UNSPECIFIED = 338, b"\0\0"  # TIFF 6.0, section 18
# Of photographs by phones: tags of a video behind the picture.
_MOTION = (b"GCamera:MotionPhoto", b"GCamera:MicroVideo")

# libvips would keep the last operations, and with them original files open.
pyvips.cache_set_max(0)

# What GLib says about absurd numbers in headers goes to the logger `pyvips`, as what libvips says does: not to the
# terminal. Not at exit, when Python can be called no more.
_GOBJECT, _EACH_LEVEL = b"GLib-GObject", 0xFF
_handler = pyvips.glib_lib.g_log_set_handler(_GOBJECT, _EACH_LEVEL, pyvips._log_handler_cb, pyvips.ffi.NULL)
atexit.register(pyvips.glib_lib.g_log_remove_handler, _GOBJECT, _handler)


@dataclass(frozen=True, slots=True)
class ValueRange:
    """Least and greatest colour of a picture of floating-point samples that leave [0, 1].

    Such pictures count light, of which the brightest part may be a thousand times white. A cube root makes steps that
    look alike about equally large, as the numbers of other pictures do, which the network knows.
    """

    low: float
    high: float

    def compress(self, image: pyvips.Image) -> pyvips.Image:
        """Map the range to [0, 1]."""
        return (((image - self.low) / (self.high - self.low)) ** (1 / 3)).cast("float")

    def expand(self, colours: NDArray[np.float32]) -> NDArray[np.float32]:
        """The inverse of `compress`."""
        return colours**3 * np.float32(self.high - self.low) + np.float32(self.low)


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture and what its file said about it.

    `pixels` is H x W (grey), H x W x 2 (grey, alpha), H x W x 3 or H x W x 4, uint8, uint16 or float32 in [0, 1],
    upright; alpha is not premultiplied. Those of a large picture may lie in a file without a name. `notes` tell what
    could not be kept as it was.
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
    comments: tuple[bytes, ...] = ()
    """Of JPEG and GIF."""
    value_range: ValueRange | None = None
    """Of floating-point samples outside [0, 1], which are compressed to it."""
    pages: int = 1
    """How many the file has."""
    animation: Animation | None = None
    """Whose first frame this is, or another one."""
    orientation: int = 1
    """As that of EXIF: how the file's pixels were turned."""

    def with_colours_alone(self) -> Picture:
        """The same picture without EXIF, XMP, IPTC, texts and comments."""
        profile = {name: value for name, value in self.metadata.items() if name == _PROFILE}
        chunks = tuple(chunk for chunk in self.chunks if chunk[0] in COLOURS)
        return replace(self, metadata=profile, chunks=chunks, comments=())

    def forget(self) -> None:
        """Give back the memory of what was looked at, if the pixels lie in a file."""
        if file := mapped_file(self.pixels):
            forget(file)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds, by its headers."""

    pages: tuple[Size, ...]
    """Height and width of each page; of the picture, if it is the only one."""
    animation: Animation | None = None

    @property
    def first(self) -> Contents:
        """The first picture alone."""
        return Contents(self.pages[:1])

    @property
    def frames(self) -> int:
        """How many pictures there are of each page."""
        return self.animation.count if self.animation else 1


def read_contents(path: Path, max_pixels: int = DEFAULT_MAX_PIXELS, *, lenient: bool = False) -> Contents:
    """How large the pictures in a file are, upright, from their headers alone.

    Raises:
        ImageError: As for `read_picture`; or all pictures together have more than `max_pixels`.
    """
    with _failure_of(path):
        opened = open_image(path, max_pixels, header_alone=True, lenient=lenient)
        rest = range(1, len(opened.pages))
        others = (open_image(path, max_pixels, page=page, header_alone=True, lenient=lenient).image for page in rest)
        contents = Contents((_size(opened.image), *map(_size, others)), opened.animation)
        check_total(contents.pages * contents.frames, path, max_pixels)
        return contents


def read_size(path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int, int]:
    """Height, width and channels of the first picture in a file after it is turned upright, from its header alone.

    Raises:
        ImageError: As for `read_picture`, but for damage behind the header.
    """
    with _failure_of(path):
        opened = open_image(path, max_pixels, header_alone=True)
        image = opened.image
        bands = 3 + image.hasalpha() if image.interpretation == "cmyk" else image.bands
        bands -= _has_unknown_channel(opened, path)
        return *_size(image), bands


def _size(image: pyvips.Image) -> Size:
    """Height and width upright."""
    return (image.width, image.height) if _orientation(image) >= 5 else (image.height, image.width)


def _orientation(image: pyvips.Image) -> int:
    """As that of EXIF."""
    return image.get("orientation") if image.get_typeof("orientation") else 1


def read_picture(
    path: Path,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    scratch: Path | None = None,
    *,
    lenient: bool = False,
    page: int = 0,
) -> Picture:
    """Decode a picture file of any kind that is read; of an animation, its first frame.

    Args:
        path: The file.
        max_pixels: Refuse more.
        scratch: Folder on whose disk the pixels of a large picture may lie; None keeps them in memory.
        lenient: Whether a damaged picture is taken as far as it can be decoded, with a note.
        page: Of a TIFF of several pages.

    Raises:
        ImageError: The file is missing, empty, damaged, not a picture, larger than `max_pixels`, or its samples are
            neither of 8 nor 16 bits, nor of 32 of floating point.
        MissingExtraError: It is HEIC or JPEG XL, and the extra for that is not installed.
        OutputError: The disk is full.
    """
    try:
        return _read_picture(path, max_pixels, scratch, page, lenient=False)
    except ImageError as error:
        if not lenient or not (isinstance(error, DamagedError) or isinstance(error.__cause__, pyvips.Error)):
            raise
        picture = _read_picture(path, max_pixels, scratch, page, lenient=True)
        words = str(error).removeprefix(f"{path}: ")
        return replace(picture, notes=(f"{words}; what cannot be decoded is grey or black", *picture.notes))


def _read_picture(path: Path, max_pixels: int, scratch: Path | None, page: int, lenient: bool) -> Picture:
    with _failure_of(path):
        opened = open_image(path, max_pixels, page=page, lenient=lenient)
        gain_map = _gain_map(opened, path)
        image, value_range = _in_unit_range(_visible(opened, path), path, page)
        image, pixels, notes = _decode(image, scratch, _notes(opened, path, gain_map))
        with path.open("rb") as file:
            resolution, chunks = _resolution(image, file), _chunks(opened, file)
        metadata, texts = _metadata(image, opened, path), _comments(opened, path)
        pages, animation = len(opened.pages), opened.animation
        return Picture(
            pixels,
            metadata,
            resolution,
            chunks,
            notes,
            gain_map,
            texts,
            value_range,
            pages=pages,
            animation=animation,
            orientation=_orientation(opened.image),
        )


def read_frames(path: Path, first: Picture) -> Iterator[Picture]:
    """The frames of an animation, each as it is to be seen, one at a time.

    Args:
        path: The file.
        first: What `read_picture` gave for it, of which the frames get all but the pixels.

    Yields:
        All frames, each valid until the next one is asked for.

    Raises:
        ImageError: The file is damaged.
    """
    with _failure_of(path), open_picture(path) as file:
        kind = kind_of(file.read(64))
        if kind is None:
            raise ValueError("the file was changed")
        orientation = first.orientation
        try:
            for pixels in decode_frames(file, kind):
                yield replace(first, pixels=_upright(pixels, orientation))
        except ValueError as error:
            raise DamagedError(f"{path}: damaged: of its animation, {error}") from error


def _visible(opened: Opened, path: Path) -> pyvips.Image:
    """Without a last channel that TIFF's ExtraSamples calls neither transparency nor anything else."""
    image = opened.image
    return image[: image.bands - 1] if _has_unknown_channel(opened, path) else image


def _in_unit_range(image: pyvips.Image, path: Path, page: int) -> tuple[pyvips.Image, ValueRange | None]:
    """Floating-point samples, compressed if they leave [0, 1]; others as they are."""
    if image.format != "float" or image.interpretation == "lab":
        return image, None
    colours = image.bands - image.hasalpha()
    low, high = 0.0, 1.0
    for part in _samples(open_image(path, image.width * image.height, page=page).image):
        values = np.frombuffer(part, np.float32)
        if not np.isfinite(values).all():
            raise ImageError(f"{path}: some samples are infinite or no numbers")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    if (low, high) == (0, 1):
        return image, None
    found = ValueRange(low, high)
    if colours == image.bands:
        return found.compress(image), found
    alpha = image[colours].clamp()
    return found.compress(image[:colours]).bandjoin(alpha), found


def _has_unknown_channel(opened: Opened, path: Path) -> bool:
    image = opened.image
    if opened.kind != "tiff" or image.bands not in (2, 4) or image.interpretation == "cmyk":
        return False
    with path.open("rb") as file, suppress(ValueError):
        return read_tags(file, (_EXTRA_SAMPLES,), opened.directory).get(_EXTRA_SAMPLES) == _UNSPECIFIED
    return False


def _gain_map(opened: Opened, path: Path) -> GainMap | None:
    image = opened.image
    if opened.kind != "jpeg" or not mentions_gain_map(_headers(path)):
        return None
    return find_gain_map(path.read_bytes(), _orientation(image))


def _comments(opened: Opened, path: Path) -> tuple[bytes, ...]:
    if opened.kind == "gif":
        return read_gif_comments(path.read_bytes())
    return comments(_headers(path)) if opened.kind == "jpeg" else ()


def _headers(path: Path) -> bytes:
    """Of a JPEG or HEIC file."""
    with path.open("rb") as file:
        return file.read(_MOST_OF_HEADERS)


def _notes(opened: Opened, path: Path, gain_map: GainMap | None) -> tuple[str, ...]:
    """What of the file is not in the picture, beside its pixels' kind."""
    notes = [*opened.notes]
    if _has_unknown_channel(opened, path):
        notes.append("a further channel, which the file does not call transparency, was left out")
    if opened.kind == "heic" and _APPLE_GAIN_MAP in _headers(path):
        notes.append("the gain map was left out: the output has no HDR")
    if opened.kind == "jpeg":
        head = _headers(path)
        if any(name in head for name in _MOTION):
            notes.append("the video of the motion photo was left out")
        if mentions_gain_map(head) and not gain_map:
            notes.append("the gain map cannot be read and was left out: the output has no HDR")
    return tuple(notes)


def _resolution(image: pyvips.Image, file: BinaryIO) -> tuple[float, float] | None:
    """As in `Picture`: where a file does not say, libvips takes a default."""
    if max(image.xres, image.yres) > _MOST_RESOLUTION:
        return None
    known = image.get_typeof("resolution-unit") or has_resolution(file)
    return (image.xres, image.yres) if known or round(image.xres, 2) not in _DEFAULT_RESOLUTIONS else None


def _chunks(opened: Opened, file: BinaryIO) -> tuple[Chunk, ...]:
    """As in `Picture`."""
    if opened.kind in ("heif", "heic"):
        file.seek(0)
        _, found, colours = file.read(_MOST_OF_BOXES).partition(b"colrnclx")
        # Primaries and transfer in 16 bits each; the pixels are RGB of the full range by now (ITU-T H.273).
        return ((b"cICP", bytes((colours[1], colours[3], 0, 1))),) if found and len(colours) > 3 else ()
    return read_chunks(file)


def read_xmp(path: Path) -> bytes | None:
    """The XMP packet of a picture file of any size; None if it has none, or is no picture."""
    try:
        with _failure_of(path):
            opened = open_image(path, max_pixels=2**62, header_alone=True)
            if opened.kind == "gif":
                return read_gif_xmp(path.read_bytes())
            image = opened.image
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
        raise ImageError(f"{name}: {explain(error, f'damaged or cut short: {reason(error)}')}") from error
    except OSError as error:
        raise ImageError(f"{name}: cannot be read: {error.strerror or error}") from error
    except Exception as error:
        raise ImageError(f"{name}: cannot be read: {type(error).__name__}: {error}") from error


def _decode(
    image: pyvips.Image, scratch: Path | None = None, notes: Sequence[str] = ()
) -> tuple[pyvips.Image, Pixels, tuple[str, ...]]:
    """The image turned upright, which is good for its metadata alone, its pixels, and notes as in `Picture`."""
    notes = list(notes)
    orientation = _orientation(image)
    if image.interpretation == "cmyk":
        image = image.icc_transform("srgb", embedded=True, depth=16 if image.format == "ushort" else 8)
        notes.append("CMYK was converted to sRGB")
    if image.interpretation in ("lab", "labs"):
        image = image.colourspace("srgb" if image.format == "uchar" else "rgb16").copy()
        image.remove(_PROFILE)
        notes.append("CIE L*a*b* was converted to sRGB")
    if image.get_typeof("heif-bitdepth") and (depth := image.get("heif-bitdepth")) > 8:
        # libvips puts 10 and 12 bits in the upper part of 16.
        image = (image * (65535 / ((2**depth - 1) << (16 - depth)))).rint().cast("ushort")
    bands = () if image.bands == 1 else (image.bands,)
    dtype = np.dtype(_DTYPES[image.format])
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


def _metadata(image: pyvips.Image, opened: Opened, path: Path) -> dict[str, tuple[int, Any]]:
    """Profile, EXIF, XMP and IPTC of an upright image, by libvips' type and name."""
    metadata = {}
    for name in _field_names(image):
        if name in _KEPT_BLOBS or name.startswith("exif-"):
            with suppress(UnicodeDecodeError):  # a field of EXIF in an encoding that it does not tell
                metadata[name] = (image.get_typeof(name), image.get(name))
    if opened.kind == "gif" and (xmp := read_gif_xmp(path.read_bytes())):  # which libvips leaves alone
        metadata["xmp-data"] = (pyvips.GValue.blob_type, xmp)
    if opened.kind == "tiff" and not opened.directory and (exif := read_tiff_exif(path)):  # the same
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
        return _rgb8(_decode(_only_picture(open_image(path, max_pixels), path))[1], path)


def decode_rgb8(data: bytes, name: str) -> NDArray[np.uint8]:
    """As `read_rgb8`, from the bytes of a picture file; `name` stands for it in errors.

    Raises:
        ImageError: As for `read_picture`.
    """
    with _failure_of(name):
        opened = open_stream(io.BytesIO(data), name, DEFAULT_MAX_PIXELS)
        return _rgb8(_decode(_only_picture(opened, name))[1], name)


def _only_picture(opened: Opened, name: Path | str) -> pyvips.Image:
    if opened.animation:
        raise ImageError(f"{name}: an animation; expected a single picture")
    if len(opened.pages) > 1:
        raise ImageError(f"{name}: a file of {len(opened.pages)} pages; expected a single picture")
    return opened.image


def _rgb8(pixels: Pixels, name: Path | str) -> NDArray[np.uint8]:
    if pixels.dtype == np.float32:
        raise ImageError(f"{name}: samples of floating point; expected 8 or 16 bits")
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        grey = pixels if pixels.ndim == 2 else pixels[..., 0]
        return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8, copy=False)
    return np.ascontiguousarray(pixels[..., :3]).astype(np.uint8, copy=False)
