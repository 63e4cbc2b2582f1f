"""The network for spandrel, the package that ComfyUI, chaiNNer and others load upscaling models with.

After `install()`, spandrel's `ModelLoader` detects this network in our `.safetensors` files and in the authors' `.pth`
files, and enlarges with it as `bgai.load_network` does. Needs the extra `[spandrel]`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bgai.errors import MissingExtraError, UsageError, WeightsError
from bgai.network.config import NetworkConfig
from bgai.weights.reading import from_released

if TYPE_CHECKING:
    from torch import Tensor

# One tensor that the first layer has, and one that no other network has, in our files and in the authors'.
_OURS = ("shallow.weight", "groups.0.blocks.0.gates.0.candidate.weight")
_RELEASED = ("conv_shallow.weight", "bsc_layer.0.res_spatial_attn.0.body.1.swin_body.0.gate_layer1.gated_fusion.weight")


def install(registry: Any = None) -> None:
    """Add this network to a registry of spandrel's; a second call changes nothing.

    Args:
        registry: A `spandrel.ArchRegistry`; None for `spandrel.MAIN_REGISTRY`, which all programs use.

    Raises:
        MissingExtraError: spandrel is missing.
    """
    try:
        import spandrel
    except ModuleNotFoundError as error:
        raise MissingExtraError("spandrel", "bgai.integrations.spandrel") from error

    class BgaiArchitecture(spandrel.Architecture):  # type: ignore[misc]
        """How spandrel detects and loads this network."""

        def load(self, state_dict: Mapping[str, Tensor]) -> Any:
            return load(state_dict, self)

    support = spandrel.ArchSupport.from_architecture(BgaiArchitecture(id="BGAI", detect=is_ours))
    (spandrel.MAIN_REGISTRY if registry is None else registry).add(support, ignore_duplicates=True)


def load(state_dict: Mapping[str, Tensor], architecture: Any) -> Any:
    """The network with these tensors, as a `spandrel.ImageModelDescriptor`.

    The network takes pictures of any size from 1 x 1, so that spandrel has nothing to pad. In float16 its results are
    off by 0.05 of 255 levels on average and by 3 at most, in bfloat16 by 0.4 and by 27 (ten pictures of Set14, ×4):
    only the former is allowed.

    Args:
        state_dict: With our names or the authors'.
        architecture: The `spandrel.Architecture` that the descriptor names.

    Raises:
        WeightsError: The tensors are not those of this network.
    """
    from spandrel import ImageModelDescriptor

    from bgai.network.model import BGAI

    tensors = dict(state_dict) if _OURS[0] in state_dict else from_released(state_dict)
    config = infer_config(tensors)
    try:
        return ImageModelDescriptor(
            BGAI(config),
            tensors,
            architecture,
            purpose="SR",
            tags=[f"{config.channels}dim", f"{config.groups}x{config.blocks} blocks"],
            supports_half=True,
            supports_bfloat16=False,
            scale=config.scale,
            input_channels=3,
            output_channels=3,
        )
    except RuntimeError as error:  # PyTorch lists the tensors that are missing, unknown or of another shape
        raise WeightsError(f"not the tensors of a BGAI network: {' '.join(str(error).split())[:300]}") from error


def is_ours(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether a state dictionary holds this network, with our names or the authors'."""
    return any(all(name in state_dict for name in names) for names in (_OURS, _RELEASED))


def infer_config(tensors: Mapping[str, Tensor]) -> NetworkConfig:
    """The settings of a network, from the shapes of its tensors by our names.

    The side of the windows, of which no shape depends, is taken to be the paper's 16.

    Raises:
        WeightsError: The tensors are not those of this network.
    """
    block = "groups.0.blocks.0"
    try:
        channels = tensors["shallow.weight"].shape[0]
        return NetworkConfig(
            scale=math.isqrt(tensors["head.weight"].shape[0] // 3),
            channels=channels,
            broadcast_channels=tensors[f"{block}.broadcast_attention.query.weight"].shape[0],
            local_channels=tensors[f"{block}.local_attentions.0.query.weight"].shape[0],
            groups=len({name.split(".")[1] for name in tensors if name.startswith("groups.")}),
            blocks=len({name.split(".")[3] for name in tensors if name.startswith("groups.0.blocks.")}),
            mlp_ratio=tensors[f"{block}.mlp.widen.weight"].shape[0] // channels,
        )
    except (KeyError, UsageError) as error:
        raise WeightsError(f"not the tensors of a BGAI network: {error}") from error
