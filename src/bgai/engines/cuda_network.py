"""The network as it runs on CUDA: attentions without stored maps, channels last, and launches recorded once.

A run takes more than a thousand kernel launches. For a small picture, Python makes them more slowly than the GPU works
them off. All tiles of a picture have one size: the launches for the first tiles are recorded and repeated as a whole.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from bgai.network.fused_attention import fuse
from bgai.network.model import BGAI

# The first run of a shape lets libraries choose their kernels (or compiles them), the second shows that it comes again.
_RUNS_BEFORE_RECORDING = 2


class CudaNetwork:
    """Runs batches one after another, from tensors to tensors; holds memory for one shape of input at a time.

    Args:
        network: In evaluation mode; it is changed in place.
        device: A CUDA device; or the CPU, without recording, for comparisons.
        half: Compute in float16, softmaxes and means of normalisations in float32.
        compile: Compile for each new shape, which takes minutes; PyTorch stops doing so after eight shapes.
    """

    def __init__(self, network: BGAI, device: torch.device, half: bool = False, compile: bool = False) -> None:
        self._device = device
        self._dtype = torch.float16 if half else torch.float32
        self._network = fuse(network).to(device, self._dtype)
        if compile:
            self._network.compile(dynamic=False)  # for any size takes many times as long to compile
        self._records = device.type == "cuda"
        self._shape: torch.Size | None = None
        self._runs = 0
        self._recording: _Recording | None = None

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        """Enlarge B x 3 x H x W, of any dtype and device, to float32 on this one; the next call overwrites the result.

        Raises:
            torch.OutOfMemoryError: The batch does not fit.
        """
        x = x.to(self._device, self._dtype).contiguous(memory_format=torch.channels_last)
        # Left alone, convolutions on CUDA round float32 input to 10 bits. `flags` by itself switches cuDNN off.
        with self._on_device(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return self._run(x).float()

    def _run(self, x: Tensor) -> Tensor:
        if x.shape != self._shape:
            self._shape, self._runs, self._recording = x.shape, 0, None
        self._runs += 1
        if self._records and self._recording is None and self._runs > _RUNS_BEFORE_RECORDING:
            self._recording = _Recording(self._network, x)
        result: Tensor = self._recording(x) if self._recording else self._network(x)
        return result

    def _on_device(self) -> AbstractContextManager[object]:
        return torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()


class _Recording:
    """All launches of a network for inputs of one shape. Source: CUDA graphs in PyTorch."""

    def __init__(self, network: nn.Module, x: Tensor) -> None:
        self._input = x.clone()
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._output: Tensor = network(self._input)

    def __call__(self, x: Tensor) -> Tensor:
        self._input.copy_(x)
        self._graph.replay()
        return self._output
