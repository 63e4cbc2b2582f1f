"""Picture files to arrays and back, with their depth, transparency, colour profile and EXIF kept."""

from __future__ import annotations

import io
import mmap
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyvips
from numpy.typing import NDArray

from bgai.atomic_files import whole_or_nothing
from bgai.errors import ImageError, OutputError
from bgai.pictures.tiff_exif import add_tiff_exif, read_tiff_exif
from bgai.types import Pixels

INPUT_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif")
OUTPUT_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
# The decoders that are used, whatever else libvips was built with.
_LOADERS = ("pngload", "jpegload", "webpload", "tiffload", "heifload")
# Longest side that each format can hold.
_LONGEST_SIDE = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}
_EIGHT_BIT_ONLY = (".jpg", ".jpeg", ".webp")
_NO_ALPHA = (".jpg", ".jpeg")
_TIFF = (".tif", ".tiff")
_GREY = ("b-w", "grey16")
_RGB = ("srgb", "rgb", "rgb16")
# Flags of libvips' VipsForeignKeep.
_KEEP_ALL, _KEEP_EXIF = 31, 1
_PROFILE = "icc-profile-data"
_KEPT_BLOBS = (_PROFILE, "exif-data", "xmp-data", "iptc-data")
_POLL_SECONDS = 0.1
_MOST_IN_MEMORY = 2**26  # bytes of a picture
_BYTES_AT_ONCE = 2**15  # larger blocks leave gaps in the heap, a third of the picture in all
_NOT_A_PICTURE = "not a picture, or a damaged one; expected PNG, JPEG, WebP, TIFF or AVIF"

DEFAULT_MAX_PIXELS = 200_000_000
PNG_LEVEL = 3
"""Compression of `encode_png`: 6 makes photographs 1 % smaller in up to twice the time."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture and what its file said about it.

    `pixels` is H x W (grey), H x W x 2 (grey, alpha), H x W x 3 or H x W x 4, uint8 or uint16, upright; alpha is
    not premultiplied. Those of a large picture may lie in a file without a name. `notes` tell what could not be kept as
    it was.
    """

    pixels: Pixels
    metadata: dict[str, tuple[int, Any]] = field(default_factory=dict)
    resolution: tuple[float, float] = (1.0, 1.0)
    notes: tuple[str, ...] = ()

    def with_profile_alone(self) -> Picture:
        """The same picture without EXIF, XMP and IPTC."""
        profile = {name: value for name, value in self.metadata.items() if name == _PROFILE}
        return replace(self, metadata=profile)

    def forget(self) -> None:
        """Give back the memory of what was looked at, if the pixels lie in a file."""
        if file := mapped_file(self.pixels):
            _forget(file)


def read_size(path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int, int]:
    """Height, width and channels of a picture after it is turned upright, from its header alone.

    Raises:
        ImageError: As for `read_picture`, but for damage behind the header.
    """
    image = _open(path, max_pixels)
    height, width = image.height, image.width
    if image.get_typeof("orientation") and image.get("orientation") >= 5:
        height, width = width, height
    bands = 3 + image.hasalpha() if image.interpretation == "cmyk" else image.bands
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
    image, pixels, notes = _decode(_open(path, max_pixels), path, scratch)
    return Picture(pixels, _metadata(image, path), (image.xres, image.yres), notes)


def mapped_file(pixels: NDArray[Any]) -> mmap.mmap | None:
    """The file that an array lies in, if it does."""
    base: Any = pixels
    while isinstance(base, (np.ndarray, memoryview)):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None


def _decode(
    image: pyvips.Image, name: Path | str, scratch: Path | None = None
) -> tuple[pyvips.Image, Pixels, tuple[str, ...]]:
    """The image turned upright, which is good for its metadata alone, its pixels, and notes as in `Picture`."""
    notes = []
    orientation = image.get("orientation") if image.get_typeof("orientation") else 1
    try:
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
    except pyvips.Error as error:
        raise ImageError(f"{name}: damaged or cut short: {_reason(error)}") from None


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


def _forget(mapping: mmap.mmap) -> None:
    """What was read of a mapped file counts as this process's memory; the system's cache keeps it all the same."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


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
    kept = [name for name in image.get_fields() if name in _KEPT_BLOBS or name.startswith("exif-")]
    metadata = {name: (image.get_typeof(name), image.get(name)) for name in kept}
    if path.suffix.lower() in _TIFF and (exif := read_tiff_exif(path)):  # which libvips leaves alone
        metadata["exif-data"] = (pyvips.GValue.blob_type, exif)
    if "exif-data" in metadata:
        kind, exif = metadata["exif-data"]
        metadata["exif-data"] = (kind, _without_thumbnail(exif))
        metadata["orientation"] = (pyvips.GValue.gint_type, 1)
    return metadata


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
    return _rgb8(_decode(_open(path, max_pixels), path)[1])


def decode_rgb8(data: bytes, name: str) -> NDArray[np.uint8]:
    """As `read_rgb8`, from the bytes of a picture file; `name` stands for it in errors.

    Raises:
        ImageError: As for `read_picture`.
    """
    try:
        image = pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="error")
    except pyvips.Error:
        raise ImageError(f"{name}: {_NOT_A_PICTURE}") from None
    _check_kind(image, name, DEFAULT_MAX_PIXELS, _is_animated_png(io.BytesIO(data)))
    return _rgb8(_decode(image, name)[1])


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """The bytes of a PNG file of H x W x 3 pixels, without profile or EXIF."""
    height, width, channels = pixels.shape
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(pixels).data, width, height, channels, "uchar")
    encoded: bytes = image.copy(interpretation="srgb").pngsave_buffer(compression=PNG_LEVEL, filter="sub", keep="none")
    return encoded


def _rgb8(pixels: Pixels) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        grey = pixels if pixels.ndim == 2 else pixels[..., 0]
        return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8, copy=False)
    return np.ascontiguousarray(pixels[..., :3]).astype(np.uint8, copy=False)


def check_output(path: Path, height: int, width: int, channels: int) -> None:
    """Refuse, before any work is done, a picture of this size that the format at `path` cannot hold."""
    suffix = path.suffix.lower()
    if suffix not in OUTPUT_SUFFIXES:
        raise OutputError(f"{path}: unknown output format {suffix or '(none)'}; expected {', '.join(OUTPUT_SUFFIXES)}")
    if max(height, width) > _LONGEST_SIDE.get(suffix, max(height, width)):
        limit = _LONGEST_SIDE[suffix]
        raise OutputError(
            f"{path}: {width} x {height} is more than the {limit} a side that {suffix} holds; use --format png"
        )
    if channels in (2, 4) and suffix in _NO_ALPHA:
        raise OutputError(f"{path}: {suffix} cannot hold transparency; use --format png, webp or tiff")


class PictureWriter:
    """Takes the rows of a picture from the top and makes a file of them: memory stays small at any size."""

    def __init__(self, raw: Path, encoded: Path, suffix: str, like: Picture, width: int, quality: int) -> None:
        self._raw, self._encoded, self._suffix = raw, encoded, suffix
        self._like, self._width, self._quality = like, width, quality
        self._height = 0
        self.notes: tuple[str, ...] = ()
        if like.pixels.dtype == np.uint16 and suffix in _EIGHT_BIT_ONLY:
            self.notes = (f"16 bits became 8, which is all that {suffix} holds",)

    def write(self, rows: Pixels) -> None:
        """Append rows, n x W or n x W x channels, of the dtype and channels that `like` has."""
        with self._raw.open("ab") as file:
            file.write(np.ascontiguousarray(rows).data)
        self._height += len(rows)

    def encode(self) -> None:
        with self._raw.open("rb") as file:
            rows = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        image = self._with_metadata(self._as_image(rows))
        failure: list[pyvips.Error] = []

        def save() -> None:
            try:
                _save(image, self._encoded, self._suffix, self._quality, self._kept())
            except pyvips.Error as error:
                failure.append(error)

        # The encoder runs in C; from a thread of its own it can be stopped at Ctrl-C.
        thread = threading.Thread(target=save)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(_POLL_SECONDS)
                _forget(rows)
        except BaseException:
            image.set_kill(True)
            thread.join()
            raise
        if failure:
            raise OSError(_reason(failure[0]))
        if self._suffix in _TIFF and "exif-data" in self._like.metadata:
            add_tiff_exif(self._encoded, self._like.metadata["exif-data"][1])

    def _kept(self) -> int:
        """What libvips may write of metadata: it would invent an EXIF block where there was none."""
        return _KEEP_ALL if "exif-data" in self._like.metadata else _KEEP_ALL & ~_KEEP_EXIF

    def _as_image(self, rows: mmap.mmap) -> pyvips.Image:
        pixels = self._like.pixels
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        deep = pixels.dtype == np.uint16
        kind = ("grey16" if deep else "b-w") if channels < 3 else ("rgb16" if deep else "srgb")
        image = pyvips.Image.new_from_memory(
            rows, self._width, self._height, channels, "ushort" if deep else "uchar"
        ).copy(interpretation=kind)
        if deep and self._suffix in _EIGHT_BIT_ONLY:
            image = (image / 257).rint().cast("uchar").copy(interpretation="b-w" if channels < 3 else "srgb")
        return image

    def _with_metadata(self, image: pyvips.Image) -> pyvips.Image:
        image = image.copy(xres=self._like.resolution[0], yres=self._like.resolution[1])
        for name, (kind, value) in self._like.metadata.items():
            image.set_type(kind, name, value)
        return image


@contextmanager
def write_picture(
    target: Path, like: Picture, width: int, *, quality: int = 95, overwrite: bool = False
) -> Iterator[PictureWriter]:
    """Write a picture row by row; the file appears, whole, when the block ends without an error.

    Args:
        target: Its suffix chooses the format.
        like: The picture whose kind of pixels and whose profile, EXIF and resolution the file gets.
        width: Pixels in a row.
        quality: 1 to 100, for JPEG and WebP.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        OutputError: The file exists, the disk is full, or it cannot be written for another reason.
    """
    with whole_or_nothing(target, overwrite) as encoded:
        raw = Path(f"{encoded}.raw")
        try:
            writer = PictureWriter(raw, encoded, target.suffix.lower(), like, width, quality)
            yield writer
            writer.encode()
        finally:
            with suppress(OSError):
                raw.unlink()


def _save(image: pyvips.Image, path: Path, suffix: str, quality: int, keep: int) -> None:
    match suffix:
        case ".png":
            image.pngsave(str(path), keep=keep)
        case ".jpg" | ".jpeg":
            image.jpegsave(str(path), Q=quality, subsample_mode="off", keep=keep)
        case ".webp":
            image.webpsave(str(path), Q=quality, smart_subsample=True, keep=keep)
        case _:
            big = image.width * image.height * image.bands * 2 > 2**32
            image.tiffsave(str(path), compression="deflate", predictor="horizontal", bigtiff=big, keep=keep)


def _open(path: Path, max_pixels: int) -> pyvips.Image:
    """Open a file by its header and refuse what this package does not enlarge."""
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise ImageError(f"{path}: the file is empty")
            file.seek(0)
            animated = _is_animated_png(file)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ImageError(f"{str(path)!r}: the name is not valid UTF-8; rename the file") from None
    try:
        # Without this, a picture that ends early would be filled up with grey.
        image = pyvips.Image.new_from_file(str(path), access="sequential", fail_on="error")
    except pyvips.Error:
        raise ImageError(f"{path}: {_NOT_A_PICTURE}") from None
    _check_kind(image, path, max_pixels, animated)
    return image


def _check_kind(image: pyvips.Image, path: Path | str, max_pixels: int, animated: bool) -> None:
    """Refuse an opened image that this package does not enlarge."""
    if image.get("vips-loader").removesuffix("_buffer") not in _LOADERS:
        raise ImageError(f"{path}: not a picture of a kind that is read; expected PNG, JPEG, WebP, TIFF or AVIF")
    if image.width * image.height > max_pixels:
        raise ImageError(
            f"{path}: {image.width} x {image.height} is more than the limit of {max_pixels / 1e6:g} megapixels;"
            " if you trust the file, bgai upscale takes it with a higher --max-megapixels"
        )
    if animated or (image.get_typeof("n-pages") and image.get("n-pages") > 1):
        raise ImageError(f"{path}: an animation or a file of several pages; extract its pages and enlarge those")
    if image.format not in ("uchar", "ushort"):
        raise ImageError(f"{path}: samples are of type {image.format}; expected 8 or 16 bits")
    if image.interpretation not in (*_GREY, *_RGB, "cmyk") or image.bands > 4 + (image.interpretation == "cmyk"):
        raise ImageError(
            f"{path}: {image.bands} bands of {image.interpretation}; expected grey, RGB or CMYK: make it RGB first"
        )


def _is_animated_png(file: BinaryIO) -> bool:
    """Whether an acTL chunk precedes the pixels: the decoder would silently give the first frame alone."""
    if file.read(8) != b"\x89PNG\r\n\x1a\n":
        return False
    while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
        if head[4:] == b"acTL":
            return True
        file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return False


def _reason(error: pyvips.Error) -> str:
    """The line of libvips' own words that says most: the system's, or else the first."""
    lines = [line.strip() for line in str(error.detail).splitlines() if line.strip()]
    system = [line.removeprefix("system error: ") for line in lines if line.startswith("system error: ")]
    return next(iter(system + lines), "no reason given")
