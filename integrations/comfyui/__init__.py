"""BGAI in ComfyUI: a node of its own, and the network for the built-in nodes Load Upscale Model and Upscale Image."""

from bgai.integrations.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from bgai.integrations.spandrel import install

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]

install()
