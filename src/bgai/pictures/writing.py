"""Arrays to picture files, row by row, with depth, transparency, colour profile and EXIF."""

from __future__ import annotations

import mmap
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

import numpy as np
import pyvips
from numpy.typing import NDArray

from bgai.atomic_files import partial_file, whole_or_nothing
from bgai.errors import ImageError, OutputError
from bgai.mapped import forget
from bgai.pictures.animation import rounded_delays
from bgai.pictures.encoders import save_apart
from bgai.pictures.encoding import (
    EIGHT_BIT_ONLY,
    JPEG_SUFFIXES,
    Encoding,
    has_alpha,
)
from bgai.pictures.exif_block import MOST_IN_JPEG, add_jpeg_exif, add_webp_exif, fit_exif, resolution_exif
from bgai.pictures.gain_map import append_gain_map
from bgai.pictures.gif_blocks import add_gif_texts
from bgai.pictures.iptc import as_records, as_resource
from bgai.pictures.jpeg_segments import add_comments
from bgai.pictures.losses import loses_profile, lost_in
from bgai.pictures.own_hash import FIELD, UNKNOWN, write_own_hash
from bgai.pictures.png_animation import PngFrames, changed_part
from bgai.pictures.png_chunks import XMP_KEYWORD, change_chunks, replace_start
from bgai.pictures.reading import TIFF_SUFFIXES, Picture, read_size
from bgai.pictures.tiff_exif import add_tiff_exif
from bgai.pictures.tiff_pages import append_page
from bgai.pictures.webp_animation import say_alpha
from bgai.pictures.xmp import add_fields, add_gain_map, takes_fields
from bgai.types import Pixels, RgbImage

_TIME_STEPS = {".gif": 10, ".webp": 1}  # milliseconds
# libvips' names of a format, and of grey and colour in it.
_KINDS = {
    "uint8": ("uchar", "b-w", "srgb"),
    "uint16": ("ushort", "grey16", "rgb16"),
    "float32": ("float", "b-w", "scrgb"),
}
_DEFAULT_RESOLUTION = 72 / 25.4  # pixels a millimetre, where a format has to have one
_MOST_OF_XMP = 65000  # bytes that a segment of JPEG holds
_MOST_OF_FIELDS = 2000  # bytes of what is added to a packet
# Flags of libvips' VipsForeignKeep.
_KEEP_ALL, _KEEP_EXIF = 31, 1

PNG_LEVEL = 3
"""Compression of `encode_png`: 6 makes photographs 1 % smaller in up to twice the time."""


class PictureWriter:
    """Takes the rows of a picture from the top and makes a file of them: memory stays small at any size.

    Args:
        raw: An empty file for the rows, which needs no name.
        encoded: An empty file for the picture.
        suffix: That of the picture's name, which chooses the format.
        like: As for `write_picture`.
        width: As for `write_picture`.
        encoding: As for `write_picture`.
        fields: As for `write_picture`.
        big: Whether a TIFF gets offsets of 64 bits even if it needs none for this picture.
    """

    def __init__(
        self,
        raw: IO[bytes],
        encoded: Path,
        suffix: str,
        like: Picture,
        width: int,
        encoding: Encoding,
        fields: Mapping[str, str],
        big: bool,
    ) -> None:
        self._raw, self._encoded, self._suffix, self._fields = raw, encoded, suffix, fields
        self._like, self._width, self._encoding = like, width, encoding
        self._big = big
        self._height = self._frames = 0
        self._profile = like.metadata.get("icc-profile-data", (0, b""))[1]
        self._changes_profile = loses_profile(like, suffix)
        self.notes = lost_in(like, suffix)
        self._exif: bytes = like.metadata.get("exif-data", (0, b""))[1]
        if self._exif and fit_exif(self._exif, (1, 1)) is None:
            self._exif = b""
            self.notes += ("EXIF was left out: it is damaged",)
        if suffix in JPEG_SUFFIXES and len(self._exif) > MOST_IN_JPEG:
            self._exif = b""
            self.notes += ("EXIF was left out: it is larger than a segment of JPEG",)
        self._xmp: bytes | None = like.metadata.get("xmp-data", (0, None))[1]
        if self._xmp and not takes_fields(self._xmp):
            self._xmp = None
            self.notes += ("the XMP was left out: it is damaged, or not in UTF-8",)
        if self._xmp and suffix in JPEG_SUFFIXES and len(self._xmp) > _MOST_OF_XMP - _MOST_OF_FIELDS:
            self._xmp = None
            self.notes += ("the XMP was left out: it is larger than a segment of JPEG",)

    def write(self, rows: Pixels) -> None:
        """Append rows, n x W or n x W x channels, of the dtype and channels that `like` has."""
        if self._like.value_range:
            colours = rows[..., : -1 if has_alpha(rows) else None]
            expanded = self._like.value_range.expand(colours.astype(np.float32))
            rows = np.concatenate((expanded, rows[..., -1:]), axis=2) if has_alpha(rows) else expanded
        self._raw.write(np.ascontiguousarray(rows).data)
        self._height += len(rows)

    def end_frame(self) -> None:
        """Say that the rows of a frame of an animation are all there, and that those of the next one follow."""
        self._frames += 1

    def encode(self) -> None:
        """Write the picture, and look at what was written.

        Raises:
            OSError: The disk is full, or what is there is not the picture.
        """
        self._raw.flush()
        rows = mmap.mmap(self._raw.fileno(), 0, access=mmap.ACCESS_READ)
        gain_map = self._enlarged_gain_map()
        xmp = self._packet(len(gain_map))
        # libvips would compress it in PNG, into a kind of chunk where XMP does not belong.
        image = self._animated(self._with_metadata(self._as_image(rows), None if self._suffix == ".png" else xmp))
        first = image.crop(0, 0, self._width, self._frame_height) if self._suffix == ".png" else image
        with self._encoded.open("rb+") as file:
            # By its descriptor: libvips takes options off some names, and cannot open others.
            target = pyvips.Target.new_to_descriptor(file.fileno())
            save_apart(first, target, self._suffix, self._encoding, self._kept(), rows, self._big)
        if self._suffix in TIFF_SUFFIXES:
            iptc = self._like.metadata.get("iptc-data", (0, b""))[1]
            if self._exif or iptc:
                add_tiff_exif(self._encoded, self._exif, as_records(iptc))
        elif self._suffix == ".png":
            self._add_chunks(xmp)
            if self._frames > 1:
                self._add_frames(image, rows)
        elif self._suffix == ".webp" and self._frames > 1 and has_alpha(self._like.pixels):
            with self._encoded.open("rb+") as file:
                say_alpha(file)  # libwebp does not always
        elif self._suffix == ".gif":
            with self._encoded.open("rb+") as file:
                add_gif_texts(file, self._like.comments, xmp)
        elif self._suffix in JPEG_SUFFIXES and self._like.resolution:
            self._add_jfif(self._like.resolution)
        self._add_exif()
        if self._like.comments and self._suffix in JPEG_SUFFIXES:
            with self._encoded.open("rb+") as file:
                add_comments(file, self._like.comments)
        if gain_map:
            with self._encoded.open("rb+") as file:
                append_gain_map(file, gain_map)
        self._check()

    @property
    def _frame_height(self) -> int:
        return self._height // max(self._frames, 1)

    def _animated(self, image: pyvips.Image) -> pyvips.Image:
        """With what libvips takes for an animation of frames that lie below each other."""
        if self._frames > 1 and self._like.animation and self._suffix in _TIME_STEPS:
            image.set_type(pyvips.GValue.gint_type, "page-height", self._frame_height)
            image.set_type(pyvips.GValue.gint_type, "loop", self._like.animation.plays)
            delays = rounded_delays(self._like.animation.delays[: self._frames], _TIME_STEPS[self._suffix])
            image.set_type(pyvips.GValue.array_int_type, "delay", delays)
        elif self._suffix == ".gif":
            image.set_type(pyvips.GValue.gint_type, "loop", 1)  # else libvips says that it is an endless animation
        return image

    def _add_frames(self, image: pyvips.Image, rows: mmap.mmap) -> None:
        """Append all frames but the first to a PNG, each as far as it differs from the one before."""
        if not self._like.animation:
            return
        height, pixels = self._frame_height, self._like.pixels
        frames = np.frombuffer(rows, pixels.dtype).reshape(self._frames, height, self._width, *pixels.shape[2:])
        with self._encoded.open("rb+") as file:
            further = PngFrames(file, self._like.animation, self._frames, (self._width, height))
            for index in range(1, self._frames):
                left, top, wide, high = changed_part(frames[index - 1], frames[index])
                part = image.crop(left, index * height + top, wide, high)
                further.add(part.pngsave_buffer(keep="none"), left, top)
                forget(rows)

    def _enlarged_gain_map(self) -> bytes:
        """For JPEG, if the picture has one; else nothing."""
        if not self._like.gain_map or self._suffix not in JPEG_SUFFIXES:
            return b""
        return self._like.gain_map.enlarged(self._width / self._like.pixels.shape[1], self._encoding.quality)

    def _add_chunks(self, xmp: bytes | None) -> None:
        """Write texts, XMP and colours of a PNG; and no resolution, which libvips invents, where there was none."""
        has_profile = "icc-profile-data" in self._like.metadata
        added = [chunk for chunk in self._like.chunks if not (has_profile and chunk[0] == b"sRGB")]
        added += [(b"iTXt", XMP_KEYWORD + bytes(4) + xmp)] if xmp else []
        removed = () if self._like.resolution else (b"pHYs",)
        if added or removed:
            with self._encoded.open("rb+") as file:
                change_chunks(file, added, removed)

    def _add_exif(self) -> None:
        """Write EXIF as it was, where libvips would write it anew."""
        size = self._frame_height, self._width
        block = fit_exif(self._exif, size) if self._exif else None
        if self._suffix == ".webp" and not self._exif and self._like.resolution:
            block = resolution_exif(self._like.resolution)  # for which WebP has no other place
        if not block:
            return
        with self._encoded.open("rb+") as file:
            if self._suffix in JPEG_SUFFIXES:
                add_jpeg_exif(file, block)
            elif self._suffix == ".webp":
                add_webp_exif(file, block, size)
            elif self._suffix == ".png":
                change_chunks(file, [(b"eXIf", block)], ())

    def _add_jfif(self, resolution: tuple[float, float]) -> None:
        """Write the header with the resolution (JFIF 1.02), which libvips leaves out together with EXIF."""
        across, down = (min(65535, max(1, round(each * 25.4))) for each in resolution)
        with self._encoded.open("rb+") as file:
            if file.read(4) != b"\xff\xd8\xff\xe0":  # already there
                header = b"JFIF\0" + struct.pack(">BBBHHBB", 1, 2, 1, across, down, 0, 0)
                segment = b"\xff\xe0" + struct.pack(">H", len(header) + 2) + header
                replace_start(file, 2, b"\xff\xd8" + segment)

    def _check(self) -> None:
        """Read the header of what was written: some file systems report no error when a write fails."""
        try:
            height, width, _ = read_size(self._encoded, max_pixels=self._height * self._width)
        except ImageError as error:
            raise OSError("what was written is not a whole picture") from error
        if (height, width) != (self._frame_height, self._width):
            raise OSError(f"what was written has {width} x {height} pixels, not {self._width} x {self._frame_height}")

    def _kept(self) -> int:
        """What libvips may write of metadata: EXIF in AVIF alone, where it would be hard to put in."""
        return _KEEP_ALL if self._exif and self._suffix == ".avif" else _KEEP_ALL & ~_KEEP_EXIF

    def _as_image(self, rows: mmap.mmap) -> pyvips.Image:
        pixels = self._like.pixels
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        deep = pixels.dtype == np.uint16
        format, grey, colour = _KINDS[pixels.dtype.name]
        image = pyvips.Image.new_from_memory(rows, self._width, self._height, channels, format)
        image = image.copy(interpretation=grey if channels < 3 else colour)
        if deep and self._suffix in EIGHT_BIT_ONLY:
            image = (image / 257).rint().cast("uchar").copy(interpretation="b-w" if channels < 3 else "srgb")
        if (background := self._encoding.background_rgb) and has_alpha(pixels):
            image = _flatten(image, background, 257 if image.format == "ushort" else 1)
        if self._changes_profile:
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", self._profile)
            image = image.icc_transform("srgb", embedded=True)
            image.remove("icc-profile-data")
        return image

    def _packet(self, gain_map: int) -> bytes | None:
        """The picture's XMP with the fields, and the length of a gain map if there is one."""
        xmp = self._xmp
        if gain_map:
            xmp = add_gain_map(xmp, gain_map)
        return add_fields(xmp, self._fields) if self._fields else xmp

    def _with_metadata(self, image: pyvips.Image, xmp: bytes | None) -> pyvips.Image:
        """With the picture's metadata, but for its XMP, in whose place there is another packet."""
        across, down = self._like.resolution or (_DEFAULT_RESOLUTION, _DEFAULT_RESOLUTION)
        image = image.copy(xres=across, yres=down)
        for name, (kind, value) in self._like.metadata.items():
            if name == "icc-profile-data" and self._changes_profile:
                continue
            if name == "xmp-data" or (name == "iptc-data" and self._suffix in TIFF_SUFFIXES):
                continue  # libvips writes a quarter of the latter
            image.set_type(kind, name, as_resource(value) if name == "iptc-data" else value)
        if xmp:
            image.set_type(pyvips.GValue.blob_type, "xmp-data", xmp)
        return image


_DEFAULT_ENCODING = Encoding()


@contextmanager
def write_picture(
    target: Path,
    like: Picture,
    width: int,
    *,
    encoding: Encoding = _DEFAULT_ENCODING,
    overwrite: bool = False,
    fields: Mapping[str, str] | None = None,
) -> Iterator[PictureWriter]:
    """Write a picture row by row; the file appears, whole, when the block ends without an error.

    Args:
        target: Its suffix chooses the format.
        like: The picture whose kind of pixels and whose profile, EXIF and resolution the file gets.
        width: Pixels in a row.
        encoding: Quality and the like.
        overwrite: Whether a file of that name may be replaced.
        fields: Names and values that the file's XMP gets besides, as `bgai.pictures.xmp.add_fields` writes them.

    Raises:
        OutputError: The file exists, the disk is full, or it cannot be written for another reason.
    """
    with (
        write_pages(target, encoding=encoding, overwrite=overwrite, fields=fields) as pages,
        pages.page(like, width) as writer,
    ):
        yield writer


class PagesWriter:
    """Makes a file of one page after the other.

    Args:
        target: The output, for its name alone.
        encoded: An empty file, which becomes the output.
        encoding: As for `write_picture`.
        fields: As for `write_picture`.
        big: As for `PictureWriter`.
    """

    def __init__(self, target: Path, encoded: Path, encoding: Encoding, fields: Mapping[str, str], big: bool) -> None:
        self._target, self._encoded, self._encoding, self._fields, self._big = target, encoded, encoding, fields, big
        self._suffix = target.suffix.lower()
        self._count = 0

    @contextmanager
    def page(self, like: Picture, width: int) -> Iterator[PictureWriter]:
        """Take the rows of a page; only TIFF files may have several.

        Args:
            like: As for `write_picture`.
            width: As for `write_picture`.

        Raises:
            OSError: The disk is full, or the page cannot be written for another reason.
        """
        if like.pixels.dtype == np.float32 and self._suffix not in TIFF_SUFFIXES:
            raise OutputError(f"{self._target}: cannot hold samples of floating point; choose tiff", parameter="format")
        folder, is_first = self._encoded.parent, not self._count
        with (
            tempfile.TemporaryFile(dir=folder) as raw,
            nullcontext(self._encoded) if is_first else partial_file(folder) as encoded,
        ):
            fields = self._fields if is_first else {}
            writer = PictureWriter(raw, encoded, self._suffix, like, width, self._encoding, fields, self._big)
            yield writer
            writer.encode()
            if not is_first:
                append_page(self._encoded, encoded)
        self._count += 1


@contextmanager
def write_pages(
    target: Path,
    *,
    encoding: Encoding = _DEFAULT_ENCODING,
    overwrite: bool = False,
    fields: Mapping[str, str] | None = None,
    big: bool = False,
) -> Iterator[PagesWriter]:
    """Write several pages; the file appears, whole, when the block ends without an error.

    Args:
        target: As for `write_picture`.
        encoding: As for `write_picture`.
        overwrite: As for `write_picture`.
        fields: As for `write_picture`; the first page gets them, and a hash of the file (`bgai.pictures.own_hash`).
        big: Whether all pages together may have more than 4 GB.

    Raises:
        OutputError: The file exists, the disk is full, or it cannot be written for another reason.
    """
    with whole_or_nothing(target, overwrite) as encoded:
        yield PagesWriter(target, encoded, encoding, {FIELD: UNKNOWN, **fields} if fields else {}, big)
        if fields:
            write_own_hash(encoded)


def _flatten(image: pyvips.Image, background: tuple[int, int, int], levels: int) -> pyvips.Image:
    """Without alpha, on a colour; on its luma where the picture is grey."""
    colour = [float(levels * level) for level in background]
    if image.bands == 2:
        colour = [0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]]
    return image.flatten(background=colour, max_alpha=255 * levels)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """The bytes of a PNG file of H x W x 3 pixels, without profile or EXIF."""
    height, width, channels = pixels.shape
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(pixels).data, width, height, channels, "uchar")
    encoded: bytes = image.copy(interpretation="srgb").pngsave_buffer(compression=PNG_LEVEL, filter="sub", keep="none")
    return encoded


def save_rgb_png(path: Path, pixels: RgbImage) -> None:
    """Write H x W x 3 pixels as a PNG file, in place of one of that name if there is one.

    Raises:
        OutputError: It cannot be written.
    """
    with whole_or_nothing(path) as partial:
        partial.write_bytes(encode_png(pixels))
