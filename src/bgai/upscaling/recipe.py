"""What made an output, kept in the output itself: so a later call knows which outputs are finished.

An output counts as finished if the same picture (length and content of its file) and the same scale, size, weights and
quality made it. This recipe is a field of the output's XMP, and not a list of finished files beside the outputs,
because

- it goes where the output goes: outputs may be renamed, moved, copied one by one, or lie on a share;
- it appears with the output, whole or not at all, and two processes cannot disagree about it;
- there is no further file to find, to explain, or to lose.

It tells nothing about the picture but the size and a hash of the original file: no names, places or times. Somebody who
has the original can tell that the output was made from it, nobody else can. Where another program takes the XMP out,
the output is one of unknown origin, which is never overwritten unasked. The engine, its precision and the tiles are no
part of it: they change a sample by a level at most, or by rounding.

An output that another recipe made from the same picture is made anew, if nothing was changed in it since: programs in
which it was edited keep its XMP, but then the hash of the whole file that lies beside the recipe
(`bgai.pictures.own_hash`) is no longer right. All other files are never replaced unasked. The error says how the recipe
differs, and `overwrite` allows to replace them.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from bgai.pictures.decoders import open_picture
from bgai.pictures.own_hash import is_unchanged
from bgai.pictures.reading import read_xmp
from bgai.pictures.xmp import read_fields
from bgai.weights.sources import Weights

_BLOCK = 2**20
_DIGITS = 32  # of 64: two files with the same will not be found


@dataclass(frozen=True, slots=True)
class Recipe:
    """What made an output, as text for its XMP."""

    source: str
    """Size in bytes and hash of the original."""
    scale: str
    size: str
    """Width and height that the networks' output was reduced to, such as `1920x1080`; empty if it was not."""
    weights: str
    """Hash of the weights; of both, where one is picked for each picture."""
    quality: str
    """Of JPEG, WebP and AVIF, and other settings of the output in words; empty if there are none."""

    def fields(self) -> dict[str, str]:
        """The recipe as fields of XMP."""
        return asdict(self)


def read_recipe(output: Path) -> Recipe | None:
    """The recipe of an output; None if it has none, or is no picture."""
    fields = read_fields(read_xmp(output) or b"")
    names = Recipe.__dataclass_fields__.keys()
    return Recipe(**{name: fields[name] for name in names}) if names <= fields.keys() else None


def is_replaceable(output: Path, wanted: Recipe) -> bool:
    """Whether an output was made from the picture that a recipe names, and not changed since."""
    found = read_recipe(output)
    return found is not None and found.source == wanted.source and is_unchanged(output)


def difference(found: Recipe | None, wanted: Recipe) -> str:
    """How an output's recipe differs from the wanted one, in words; empty if it does not."""
    if found is None:
        return "does not say what made it"
    if found.source != wanted.source:
        return "was made from another picture"
    if found.size != wanted.size:
        return f"was made at {found.size or f'×{found.scale}'}"
    if found.scale != wanted.scale:
        return f"was made at ×{found.scale}"
    if found.weights != wanted.weights:
        return "was made with other weights"
    if found.quality == wanted.quality:
        return ""
    if found.quality.isdigit() and wanted.quality.isdigit():
        return f"was made with quality {found.quality}"
    return f"was written with other settings ({found.quality or 'none'})"


def file_digest(path: Path) -> str:
    """Size in bytes and hash of a file.

    Raises:
        ImageError: It is a pipe, a socket or a device.
        OSError: It cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with open_picture(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return f"{size}-{digest.hexdigest()[:_DIGITS]}"


def weights_digest(*weights: Weights) -> str:
    """A hash of the content of weights, wherever their files lie.

    Raises:
        OSError: A file cannot be read.
    """
    digest = hashlib.sha256()
    for each in weights:
        digest.update(f"{each.key} {each.clean}".encode())
        for file in filter(None, (each.file, each.other)):
            status = file.stat()
            digest.update(_content_digest(file, status.st_size, status.st_mtime_ns))
    return digest.hexdigest()[:_DIGITS]


@functools.lru_cache(16)
def _content_digest(file: Path, size: int, modified: int) -> bytes:
    """Kept for as long as the file has this size and time: a batch asks for it with each picture."""
    return hashlib.sha256(file.read_bytes()).digest()
