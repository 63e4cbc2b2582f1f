"""Picture files that several tests make."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray
from PIL import Image
from support import texture

from bgai.pictures.reading import read_picture
from bgai.pictures.writing import write_picture

KINDS_OF_PIXELS = {"grey": 1, "grey-alpha": 2, "rgb": 3, "rgba": 4}
"""Channels of each kind of picture."""


def rewrite(source: Path, target: Path) -> None:
    """Copy a picture through our reader and writer, in strips."""
    picture = read_picture(source)
    with write_picture(target, picture, picture.pixels.shape[1]) as writer:
        for start in range(0, len(picture.pixels), 7):
            writer.write(picture.pixels[start : start + 7])


def save_by_vips(pixels: NDArray[Any], path: Path, **options: object) -> None:
    image = pyvips.Image.new_from_array(pixels)
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    deep = pixels.dtype == np.uint16
    kind = ("grey16" if deep else "b-w") if bands < 3 else ("rgb16" if deep else "srgb")
    image.copy(interpretation=kind).write_to_file(str(path), **options)


# Of getrusage a child has its parent's.
_PEAK = """
import re
from pathlib import Path
import numpy as np
from bgai.pictures.reading import read_picture
from bgai.pictures.writing import write_picture
def peak() -> int:
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
like = read_picture(Path("small.jpg"))
"""


def peak_growth(code: str, folder: Path) -> int:
    """KB more than before that the process took at most, as the code prints it."""
    Image.fromarray(texture(8, 8)).save(folder / "small.jpg")
    command = [sys.executable, "-c", _PEAK + code]
    return int(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout)


def png_with(path: Path, *chunks: tuple[bytes, bytes], before: bytes = b"IDAT", base: Path | None = None) -> None:
    """A PNG of 10 x 10 pixels, or another one, with further chunks."""
    data = io.BytesIO(base.read_bytes() if base else b"")
    if base is None:
        Image.fromarray(texture(10, 10)).save(data, "png")
    at = data.getvalue().index(before) - 4
    packed = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    path.write_bytes(data.getvalue()[:at] + packed + data.getvalue()[at:])


def write_tiff(path: Path, pixels: NDArray[Any], *, photometric: int | None = None, bits: int | None = None) -> None:
    """An uncompressed TIFF of any dtype; `bits` a sample if the bytes of `pixels` are packed samples."""
    height, width, samples = (*pixels.shape, 1)[:3]
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    bits_each = 8 * pixels.dtype.itemsize
    if bits:
        width, bits_each = width * 8 // bits, bits
    formats = {"u": 1, "i": 2, "f": 3}
    values = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits_each] * samples),
        259: (3, [1]),
        262: (3, [(2 if samples == 3 else 1) if photometric is None else photometric]),
        273: (4, [0]),
        277: (3, [samples]),
        278: (4, [height]),
        279: (4, [len(data)]),
        339: (3, [formats[pixels.dtype.kind]] * samples),
    }
    table, behind, end = b"", b"", 8 + 2 + 12 * len(values) + 4
    for tag, (kind, numbers) in values.items():
        packed = struct.pack(f"<{len(numbers)}{'HI'[kind == 4]}", *numbers).ljust(4, b"\0")
        if len(packed) > 4:
            behind, packed = behind + packed, struct.pack("<I", end + len(behind))
        table += struct.pack("<HHI4s", tag, kind, len(numbers), packed)
    start = struct.pack("<HHII", 273, 4, 1, end + len(behind))
    table = table[: 12 * 5] + start + table[12 * 6 :]
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(values)) + table + bytes(4) + behind + data)
