"""Settings of the network, validated where they are made."""

from __future__ import annotations

from dataclasses import dataclass

from bgai.errors import UsageError

SCALES = (2, 3, 4)
GRID = 16
"""Pixels: the network pads to multiples of it, so tiles begin at them and halos are multiples of half of it."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Shape of a BGAI network; the defaults are those of the paper.

    Raises:
        UsageError: A field is outside what the network is defined for.
    """

    scale: int
    channels: int = 52
    """Width C of the features; four slices of it go through the mixing blocks."""
    broadcast_channels: int = 20
    """Width of the first attention of a block, whose output is broadcast to the others."""
    local_channels: int = 10
    """Width of each of the three attentions that receive the broadcast."""
    groups: int = 4
    blocks: int = 2
    """Blocks in a group: even ones attend in plain windows, odd ones in shifted windows."""
    window: int = 16
    """Side of the first attention's windows in pixels; inputs are padded to its multiples."""
    mlp_ratio: int = 2

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise UsageError(f"scale {self.scale}: expected one of 2, 3 and 4")
        for name in ("channels", "broadcast_channels", "local_channels", "groups", "blocks", "window", "mlp_ratio"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}: expected at least 1")
        if self.channels % 4:
            raise UsageError(f"channels {self.channels}: expected a multiple of 4")
        # The thinnest windows are a quarter of the side, and half of that is their shift; tiles lie on a grid of 16.
        if self.window not in (8, 16):
            raise UsageError(f"window {self.window}: expected 8 or 16")
