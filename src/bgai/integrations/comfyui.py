"""A node for ComfyUI that enlarges batches of images as an `Upscaler` does, with progress and interruption.

`integrations/comfyui` is the folder that goes into ComfyUI's `custom_nodes`. Modules of ComfyUI are imported where they
are used: they exist in its process alone.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from bgai.choices import EngineName, Precision
from bgai.engines.selection import ENGINES, PRECISIONS
from bgai.network.config import SCALES
from bgai.upscaling.sizes import TargetSize
from bgai.upscaling.upscaler import Upscaler

if TYPE_CHECKING:
    from torch import Tensor

_NAMES = ("photo", "bgai", "official")
_BY_CLEAN = "between bgai and photo"
_FOLDER = "upscale_models"
_SUFFIXES = (".safetensors", ".pth")
_NONE = -1  # ComfyUI's fields for numbers cannot be empty
_MIB = 2**20


class BgaiUpscale:
    """Upscale Image (BGAI): a batch of images in, each enlarged on its own, in tiles where it is large."""

    CATEGORY = "image/upscaling"
    DESCRIPTION = "Enlarges images by BGAI with any of its engines; OpenVINO's needs no GPU."
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "upscale"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802
        """The fields of the node, in the form that ComfyUI reads."""
        import folder_paths

        files = [name for name in folder_paths.get_filename_list(_FOLDER) if name.endswith(_SUFFIXES)]
        return {
            "required": {
                "image": ("IMAGE",),
                "weights": (
                    [*_NAMES, _BY_CLEAN, *files],
                    {"tooltip": f"photo for photographs and JPEG, bgai for clean images, or a file in {_FOLDER}."},
                ),
                "scale": (list(SCALES), {"default": 4, "tooltip": "That of the weights, where these are a file."}),
            },
            "optional": {
                "clean": _number(
                    "FLOAT", 0.5, 0, 1, f"How much noise is removed, for the weights '{_BY_CLEAN}'.", 0.05
                ),
                "width": _number("INT", 0, 0, 65536, "Reduce the result to this width; 0 for as wide as it gets."),
                "height": _number("INT", 0, 0, 65536, "Reduce the result to this height; 0 for as high as it gets."),
                "engine": (list(ENGINES), {"tooltip": "auto: PyTorch on a GPU that it sees, else native or OpenVINO."}),
                "device": ("STRING", {"default": "auto", "tooltip": "auto, cpu, cuda, cuda:1, mps, …"}),
                "precision": (list(PRECISIONS), {"tooltip": "half is faster and not quite as exact."}),
                "tile": _number("INT", _NONE, _NONE, 65536, "Longest side of tiles; -1 by memory, 0 for none.", 1),
                "halo": _number(
                    "INT", _NONE, _NONE, 256, "Overlap of tiles, a multiple of 8; -1 as for the weights.", 1
                ),
                "memory": _number("INT", 0, 0, 2**20, "MiB that tiles may take; 0 for the fastest size."),
                "compile": ("BOOLEAN", {"default": False, "tooltip": "On CUDA: for many images of one size."}),
            },
        }

    def upscale(
        self,
        image: Tensor,
        weights: str,
        scale: int,
        clean: float = 0.5,
        width: int = 0,
        height: int = 0,
        engine: EngineName = "auto",
        device: str = "auto",
        precision: Precision = "float32",
        tile: int = _NONE,
        halo: int = _NONE,
        memory: int = 0,
        compile: bool = False,
    ) -> tuple[Tensor]:
        """Enlarge a batch; ComfyUI calls it with the fields of `INPUT_TYPES`.

        Args:
            image: B x H x W x C in [0, 1], C from 1 to 4; what lies outside is clamped.

        Returns:
            B x sH x sW x C of the same dtype and on the same device.

        Raises:
            BgaiError: As for `Upscaler`.
            FileNotFoundError: There is no such file of weights.
            comfy.model_management.InterruptProcessingException: The user stopped the workflow, between two tiles.
        """
        import comfy.model_management
        import comfy.utils

        from bgai.tensors import upscale

        upscaler = _open(weights, scale, clean, engine, device, precision, tile, halo, memory, compile)
        if upscaler.engine.name == "torch":  # leave it the memory that ComfyUI does not use
            comfy.model_management.soft_empty_cache()
        bar = comfy.utils.ProgressBar(1)

        def progress(done: int, total: int) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            bar.update_absolute(done, total)

        size = TargetSize(width=width or None, height=height or None) if width or height else None
        enlarged = upscale(image.movedim(-1, 1).clamp(0, 1), upscaler, progress, size=size)
        return (enlarged.movedim(1, -1).contiguous(),)


NODE_CLASS_MAPPINGS = {"BgaiUpscale": BgaiUpscale}
NODE_DISPLAY_NAME_MAPPINGS = {"BgaiUpscale": "Upscale Image (BGAI)"}


def _number(
    kind: str, default: float, least: float, most: float, tooltip: str, step: float = 8
) -> tuple[str, dict[str, Any]]:
    return kind, {"default": default, "min": least, "max": most, "step": step, "tooltip": tooltip}


@functools.lru_cache(2)
def _open(
    weights: str,
    scale: int,
    clean: float,
    engine: EngineName,
    device: str,
    precision: Precision,
    tile: int,
    halo: int,
    memory: int,
    compile: bool,
) -> Upscaler:
    """The upscaler for these fields; the last two are kept."""
    import folder_paths

    named = weights in (*_NAMES, _BY_CLEAN)
    between = weights == _BY_CLEAN
    return Upscaler(
        scale if named else None,
        None if between else weights if named else folder_paths.get_full_path_or_raise(_FOLDER, weights),
        engine,
        device,
        tile=None if tile == _NONE else tile,
        halo=None if halo == _NONE else halo,
        precision=precision,
        compile=compile,
        clean=clean if between else None,
        memory=memory * _MIB or None,
    )
