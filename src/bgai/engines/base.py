"""What an engine is: the narrow interface between tiles and the runtimes that enlarge them."""

from __future__ import annotations

from typing import Protocol

from bgai.errors import EngineError
from bgai.types import Size, Tiles


class Engine(Protocol):
    """Enlarges batches of tiles; knows nothing of files, colour or tiling.

    Threads may share an engine: calls wait for each other where the runtime needs it.
    """

    name: str
    """The runtime: `openvino` or `torch`."""
    device: str
    """Where it runs: `cpu`, `cuda`, `cuda:1`, `mps`, …"""
    scale: int
    bytes_per_pixel: int
    """Working memory for each low-resolution pixel of a batch, measured."""

    def prepare(self, size: Size, count: int) -> None:
        """Get ready for so many tiles of a height and width; without it the first of them may take longer."""
        ...

    def __call__(self, tiles: Tiles, count: int = 1) -> Tiles:
        """Enlarge tiles; the same tiles and count give the same result, whatever ran before.

        Args:
            tiles: B x 3 x h x w, RGB in [0, 1], any h and w.
            count: How many tiles of this size the image is cut into: many are worth more preparation.

        Returns:
            B x 3 x sh x sw, not clamped.

        Raises:
            EngineError: The tiles do not fit into the device's memory, or the runtime fails.
        """
        ...

    def release(self) -> None:
        """Give back the memory of the last tiles; the next ones take it anew."""
        ...

    def rest(self) -> None:
        """Make room in a CPU's memory for another engine's tiles; the next ones here may take longer to begin."""
        ...

    def free_memory(self) -> int:
        """Bytes that are free where the tiles are worked on."""
        ...


def run_error(error: Exception, runtime: str, size: Size | None) -> EngineError:
    """What an engine raises for an error of its runtime.

    Args:
        error: The error.
        runtime: Its name.
        size: Height and width of the tiles that were to run; None where they may have any.
    """
    tiles = f"tiles of {size[1]} x {size[0]}" if size else "tiles"
    reason = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(sign in reason.lower() for sign in ("alloc", "memory")):
        return EngineError(f"{tiles} need more memory than {runtime} can have; choose smaller ones", parameter="tile")
    return EngineError(f"{runtime} cannot run {tiles}: {reason[:300] or type(error).__name__}")
