"""The engine of the `[torch]` extra: a checkpoint through PyTorch, on a GPU or the CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bgai.engines.base import ProcessGuard, run_error
from bgai.engines.cuda_network import CudaNetwork
from bgai.engines.memory import free_memory
from bgai.errors import EngineError
from bgai.network.config import NetworkConfig
from bgai.types import Precision, Size, Tensors, Tiles
from bgai.weights.checkpoint import build_network

# What tensors take on CUDA, counted, and half as much again for the libraries and for gaps between them.
_CUDA_BYTES_PER_PIXEL: Mapping[Precision, int] = {"float32": 10_000, "half": 6_000}
_GUARD = ProcessGuard("PyTorch")


class TorchEngine:
    """Runs tiles of any size on one device: on CUDA by `CudaNetwork`, elsewhere the network as it is, in float32.

    Calls of several threads wait for each other: recorded launches write all results to one place.
    """

    name = "torch"

    def __init__(
        self,
        config: NetworkConfig,
        tensors: Tensors,
        device: str,
        precision: Precision = "float32",
        compile: bool = False,
    ) -> None:
        """Load the network onto the device.

        Raises:
            EngineError: PyTorch cannot use the device.
        """
        network = build_network(config, tensors)
        self.device = device
        self.scale = network.config.scale
        self.bytes_per_pixel = 15_000
        self._network: Callable[[Tensor], Tensor]
        try:
            self._device = torch.device(device)
            if self._device.type == "cuda":
                self._network = CudaNetwork(network, self._device, precision == "half", compile)
                self.bytes_per_pixel = _CUDA_BYTES_PER_PIXEL[precision]
            else:
                self._network = network.to(self._device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise EngineError(f"device {device!r} cannot be used: {reason}", parameter="device") from error
        self._lock = threading.Lock()

    @torch.inference_mode()
    def __call__(self, tiles: Tiles, count: int = 1) -> Tiles:
        _GUARD.use()
        try:
            with self._lock:
                result: Tiles = self._network(torch.from_numpy(tiles).to(self._device)).cpu().numpy()
        except (RuntimeError, MemoryError) as error:
            raise run_error(error, f"PyTorch on {self.device}", (tiles.shape[-2], tiles.shape[-1])) from error
        return result

    def prepare(self, size: Size, count: int) -> None:
        """Any size runs at once."""

    def release(self) -> None:
        """PyTorch gives memory on a CPU back by itself, and keeps a GPU's for the next tiles."""

    def rest(self) -> None:
        self.release()

    def free_memory(self) -> int:
        if self._device.type != "cuda":
            return free_memory()
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return torch.cuda.mem_get_info(self._device)[0] + kept
