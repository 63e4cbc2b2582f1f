"""The engine of the `[torch]` extra: a checkpoint through PyTorch, on a GPU or the CPU."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

from bgai.checkpoint import load_network
from bgai.engines import Tiles
from bgai.errors import EngineError


class TorchEngine:
    """Runs tiles of any size in float32 on one device."""

    name = "torch"
    bytes_per_pixel = 15_000

    def __init__(self, checkpoint: Path, device: str, key: str) -> None:
        network = load_network(checkpoint, key)
        try:
            self._device = torch.device(device)
            self._network = network.to(self._device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise EngineError(f"device {device!r} cannot be used: {reason}") from None
        self.device = device
        self.scale = network.config.scale

    @torch.inference_mode()
    def __call__(self, tiles: Tiles) -> Tiles:
        try:
            # Left alone, convolutions on CUDA round their input to 10 bits.
            with torch.backends.cudnn.flags(allow_tf32=False):
                result: Tiles = self._network(torch.from_numpy(tiles).to(self._device)).cpu().numpy()
        except torch.OutOfMemoryError:
            size = " x ".join(map(str, tiles.shape[-2:]))
            raise EngineError(
                f"device {self.device!r} has too little memory for tiles of {size}; set a smaller --tile"
            ) from None
        return result

    def prepare(self, size: tuple[int, int], count: int) -> None:
        """Any size runs at once."""

    def release(self) -> None:
        """PyTorch gives memory on a CPU back by itself, and keeps a GPU's for the next tiles."""

    def free_memory(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.mem_get_info(self._device)[0]
        return psutil.virtual_memory().available
