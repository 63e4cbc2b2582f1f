"""What an engine is: the narrow interface between tiles and the runtimes that enlarge them."""

from __future__ import annotations

import os
from typing import Protocol, runtime_checkable

from bgai.errors import EngineError
from bgai.types import RgbImage, Size, Tiles


class Engine(Protocol):
    """Enlarges batches of tiles; knows nothing of files or tiling, nor of colour, but for `Rgb8Engine`.

    Threads may share an engine: calls wait for each other where the runtime needs it.
    """

    name: str
    """The runtime: `openvino`, `native`, `torch` or `onnxruntime`."""
    device: str
    """Where it runs: `cpu`, `cuda`, `cuda:1`, `mps`, `gpu`, `npu`, `dml`, `coreml`, …"""
    scale: int
    bytes_per_pixel: int
    """Working memory for each low-resolution pixel of a batch, measured."""

    def prepare(self, size: Size, count: int) -> None:
        """Prepare for `count` tiles of a height and width; without this call the first of them may take longer."""
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
        """Free the working memory of the last tiles; the next ones allocate it again."""
        ...

    def rest(self) -> None:
        """Free as much CPU memory as possible for another engine; the next tiles of this one may start later."""
        ...

    def free_memory(self) -> int:
        """Free memory in bytes, of the device that runs the tiles."""
        ...


@runtime_checkable
class Rgb8Engine(Engine, Protocol):
    """An engine that knows pixels of 8 bits too, which takes less time and memory."""

    def enlarge_rgb8(self, image: RgbImage) -> RgbImage | None:
        """Do all that `bgai.upscaling.pixels.enlarge_pixels` does with this engine, with the same result.

        Args:
            image: h x w x 3, one side at least `bgai.upscaling.bounds.SMALL`.

        Returns:
            sh x sw x 3; None where numbers may be too large for their sum, which needs a closer look.

        Raises:
            EngineError: As for a call.
        """
        ...


# What runtimes write where memory cannot be had.
_NO_MEMORY = ("alloc", "out of memory", "not enough memory")


def run_error(error: Exception, runtime: str, size: Size | None) -> EngineError:
    """The error that an engine raises when its runtime has failed.

    Args:
        error: The error.
        runtime: Its name.
        size: Height and width of the tiles that were to run; None where they may have any.
    """
    tiles = f"tiles of {size[1]} x {size[0]}" if size else "tiles"
    reason = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(sign in reason.lower() for sign in _NO_MEMORY):
        return EngineError(f"{tiles} need more memory than {runtime} can have; choose smaller ones", parameter="tile")
    return EngineError(f"{runtime} cannot run {tiles}: {reason[:300] or type(error).__name__}")


class ProcessGuard:
    """Remembers which process uses a runtime, because a fork does not copy the runtime's threads.

    Args:
        runtime: Its name.
    """

    def __init__(self, runtime: str) -> None:
        self._runtime = runtime
        self._user: int | None = None

    def is_forked(self) -> bool:
        """Whether this process was forked from one that had used the runtime."""
        return self._user not in (None, os.getpid())

    def check(self) -> None:
        """Refuse a forked process, in which the runtime would wait for ever for threads that are not there.

        Raises:
            EngineError: This process was forked from one that had used the runtime.
        """
        if self.is_forked():
            raise EngineError(
                f"{self._runtime} was used before this process was forked, and its threads are not here: start"
                " processes with multiprocessing's 'spawn' or 'forkserver', or enlarge nothing before the fork"
            )

    def use(self) -> None:
        """Remember this process as the one that uses the runtime.

        Raises:
            EngineError: As for `check`.
        """
        self.check()
        self._user = os.getpid()
