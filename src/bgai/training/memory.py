"""How much memory a batch takes, known before it is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from bgai.errors import BgaiError

FIXED_BYTES = 400 * 2**20  # that the first step takes besides, for kernels and their buffers, measured
# Of the bytes that are kept for the backward pass: gradients and temporary tensors come to them, and between parts the
# allocator gives back less than it took. Both measured.
_OVERHEAD, _OVERHEAD_IN_PARTS = 1.3, 1.8
_SHARE = 0.8  # of the free memory; the rest is for the optimizer and other processes


def saved_bytes(forward: Callable[[], Tensor], held: Iterable[Tensor] = ()) -> int:
    """Bytes that are kept for the backward pass of what `forward` computes, but for tensors that are held anyway."""
    places = {tensor.untyped_storage().data_ptr() for tensor in held}
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in places:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        result = forward()
    del result  # the tensors live as long as it does: no address is taken twice
    return sum(storages.values())


def parts_that_fit(batch_size: int, patch_bytes: int, free: int) -> int:
    """In how many parts a batch fits into memory.

    Args:
        batch_size: Patches in the batch.
        patch_bytes: What `saved_bytes` found for one patch.
        free: Bytes that are free.

    Raises:
        BgaiError: Not even one patch fits.
    """
    usable = _SHARE * free - FIXED_BYTES
    if _OVERHEAD * batch_size * patch_bytes <= usable:
        return 1
    fitting = int(usable / (_OVERHEAD_IN_PARTS * patch_bytes))
    if fitting < 1:
        raise BgaiError(
            f"a patch takes about {needed_gib(1, patch_bytes):.1f} GiB, of which {free / 2**30:.1f} are free; lower"
            " datasets.train.gt_size, or set train.precision: half"
        )
    return math.ceil(batch_size / fitting)


def needed_gib(batch_size: int, patch_bytes: int) -> float:
    """What a whole batch takes."""
    return (FIXED_BYTES + _OVERHEAD * batch_size * patch_bytes) / 2**30
