"""Which tensors a network has, and their shapes, from its settings alone."""

from __future__ import annotations

import math

from bgai.network.config import NetworkConfig


def tensor_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors of `bgai.network.model.BGAI` by their names in its state."""
    C, broadcast, local = config.channels, config.broadcast_channels, config.local_channels
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, out: int, each: int, h: int = 1, w: int = 1) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, each, h, w), (out,)

    def mixing(name: str) -> None:
        convolution(f"{name}.spread", C, C)
        for part, h, w in (("vertical", 15, 1), ("horizontal", 1, 15), ("near.0", 3, 3), ("near.1", 3, 3)):
            convolution(f"{name}.{part}", C // 4, 1, h, w)
        convolution(f"{name}.join", C, C)

    def attention(name: str, channels: int) -> None:
        shapes[f"{name}.temperature"] = (1, 1, 1)
        convolution(f"{name}.query", channels, channels)
        convolution(f"{name}.value", channels, channels)
        convolution(f"{name}.position", channels, 1, 5, 5)

    def gate(name: str) -> None:
        convolution(f"{name}.reset", broadcast, local + broadcast)
        convolution(f"{name}.update", local, local + broadcast)
        convolution(f"{name}.candidate", local, local + broadcast)
        convolution(f"{name}.extract", local, broadcast)

    def mlp(name: str) -> None:
        width = C * config.mlp_ratio
        convolution(f"{name}.widen", width, C)
        reaches = (("square", 3, 3), ("tall", 5, 3), ("wide", 3, 5), ("twice.0", 3, 3), ("twice.1", 3, 3))
        for part, h, w in reaches:
            convolution(f"{name}.{part}", width // 4, 1, h, w)
        convolution(f"{name}.narrow", C, width)

    def block(name: str) -> None:
        for norm in ("norm1", "norm2"):
            shapes[f"{name}.{norm}.weight"] = shapes[f"{name}.{norm}.bias"] = (C,)
        convolution(f"{name}.router", broadcast, C)
        convolution(f"{name}.local", 3 * local, C)
        attention(f"{name}.broadcast_attention", broadcast)
        for index in range(3):
            attention(f"{name}.local_attentions.{index}", local)
            gate(f"{name}.gates.{index}")
        convolution(f"{name}.project", C, broadcast + 3 * local)
        mlp(f"{name}.mlp")

    convolution("shallow", C, 3, 3, 3)
    for group in (f"groups.{index}" for index in range(config.groups)):
        convolution(f"{group}.bypass", C // 2, C)
        mixing(f"{group}.mixing1")
        for index in range(config.blocks):
            block(f"{group}.blocks.{index}")
        mixing(f"{group}.mixing2")
        convolution(f"{group}.fuse", C, C // 2 + C)
    convolution("fuse", C, config.groups * C)
    mixing("refine")
    convolution("head", 3 * config.scale**2, C, 3, 3)
    return shapes


def parameter_count(config: NetworkConfig) -> int:
    """How many numbers a network's tensors have in all."""
    return sum(math.prod(shape) for shape in tensor_shapes(config).values())
