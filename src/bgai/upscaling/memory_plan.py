"""How large tiles may be in the memory that is available."""

from __future__ import annotations

import re
from typing import Any

from numpy.typing import NDArray

from bgai.engines.base import Engine
from bgai.errors import UsageError
from bgai.free_memory import total_memory
from bgai.mapped import mapped_file
from bgai.upscaling.pixels import has_alpha
from bgai.upscaling.tiling import Span, plan_tiles

COMMAND_MEMORY = 2**30
"""Bytes that each process of a cluster and `bgai video` plan with on a CPU, and any on a machine with little memory."""
PROCESS_BASE = 280 * 2**20
"""Bytes that a process takes on a CPU for the interpreter, the libraries and compiled graphs."""
MEMORY_OF_OTHERS = 2**28
"""Bytes that a picture of up to 32 megapixels takes while it is read or written, beside another one's tiles."""

_SHARE_OF_FREE = 0.5
# Of all memory rather than of what is free: so the tiles, and with them the last digits, are those of the last run.
_SHARE_OF_ALL = 0.25
# Larger tiles gain less than the memory that they touch for the first time costs.
_MOST_PIXELS = 1024 * 768
_MOST_BYTES_ON_GPU = 3 * 2**30
_TRANSPARENCY_BYTES = 80  # for each pixel of an enlarged tile, what weighting and bounding take


def check_memory(memory: int | None) -> None:
    """Refuse a bound on memory that leaves nothing for tiles.

    Raises:
        UsageError: It is no more than what a process takes before it enlarges anything.
    """
    if memory is not None and memory <= PROCESS_BASE:
        raise UsageError(
            f"memory {memory}: expected more than {PROCESS_BASE} bytes, which the process takes by itself",
            parameter="memory",
        )


def read_memory(text: str) -> int:
    """Bytes, from a text such as `1GiB`, `800MiB`, `2GB` or `1073741824`.

    Raises:
        UsageError: It is no such text.
    """
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?(?:([kmgt])(i?)b?)?", text.strip().lower())
    if not match:
        raise UsageError(f"memory {text!r}: expected bytes, such as 1GiB or 800MiB", parameter="memory")
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** (" kmgt".index(unit) if unit else 0))


def memory_for_tiles(text: str | None, together: int) -> int | None:
    """What an `Upscaler` may take of the memory of a process in which some pictures are in work together.

    Args:
        text: Of the process, as `read_memory` reads it; None for what is there.
        together: How many pictures.

    Raises:
        UsageError: It is no such text, or too little.
    """
    if text is None:
        return None if together <= 3 else default_memory() - (together - 3) * MEMORY_OF_OTHERS
    memory = read_memory(text) - (together - 1) * MEMORY_OF_OTHERS
    if memory <= PROCESS_BASE:
        least = (PROCESS_BASE + (together - 1) * MEMORY_OF_OTHERS) // 2**20
        raise UsageError(f"memory {text}: expected more than {least}MiB for {together} pictures", parameter="memory")
    return memory


def default_memory() -> int:
    """Bytes that enlarging a picture takes where nothing else is said, but for one on a GPU.

    A quarter of the machine's memory, or 1 GiB if that is more, less what other pictures take meanwhile.
    """
    return max(COMMAND_MEMORY, int(total_memory() * _SHARE_OF_ALL) - 2 * MEMORY_OF_OTHERS)


def default_together() -> int:
    """How many pictures may be in work at the same time where nothing is said of memory."""
    return 3 if default_memory() > COMMAND_MEMORY else 1


def plan_for_memory(
    image: NDArray[Any], engine: Engine, halo: int, memory: int | None
) -> tuple[list[Span], list[Span]]:
    """Plan the tiles that fit into memory and read the fewest pixels in all; rows first, then columns.

    Args:
        image: H x W, or H x W x channels.
        engine: What runs the tiles.
        halo: Pixels cut off where tiles meet.
        memory: Bytes that the process may take on a CPU, the image included, or tiles on a GPU; None for
            `default_memory`, or 3 GiB on a GPU. Half of what is free is not exceeded in either case.
    """
    height, width = image.shape[:2]
    free = int(engine.free_memory() * _SHARE_OF_FREE)
    if engine.device != "cpu":
        room = min(free, memory or _MOST_BYTES_ON_GPU)
        return plan_tiles(height, width, room // engine.bytes_per_pixel, halo)
    in_file = mapped_file(image) is not None
    memory = memory or default_memory()
    room = min(free, memory - PROCESS_BASE - (0 if in_file else image.nbytes))
    pixel_bytes = engine.bytes_per_pixel + has_alpha(image) * _TRANSPARENCY_BYTES * engine.scale**2
    # Of output, for each row of input; and that itself, if reading it is what brings it into memory.
    row_bytes = image[0].nbytes * (engine.scale**2 + in_file)
    return plan_tiles(height, width, int(room / pixel_bytes), halo, row_bytes / pixel_bytes, _MOST_PIXELS)
