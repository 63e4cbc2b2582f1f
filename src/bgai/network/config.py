"""Settings of the network, validated where they are made."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from bgai.errors import UsageError

SCALES = (2, 3, 4)
MEAN_RGB = (0.4488, 0.4371, 0.4040)
"""Of DIV2K; the network works on what differs from it."""
GRID = 16
"""Pixels: the network pads to multiples of it, so tiles begin at them and halos are multiples of half of it."""
_MOST = {
    "channels": 1024,
    "broadcast_channels": 1024,
    "local_channels": 1024,
    "groups": 64,
    "blocks": 64,
    "mlp_ratio": 16,
}


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
        for name, value in asdict(self).items():
            if type(value) is not int:
                raise UsageError(f"{name} {value!r:.40}: expected a whole number")
        if self.scale not in SCALES:
            raise UsageError(f"scale {self.scale}: expected one of 2, 3 and 4")
        for name, most in _MOST.items():
            if not 1 <= getattr(self, name) <= most:
                raise UsageError(f"{name} {getattr(self, name)}: expected 1 to {most}")
        if self.channels % 4:
            raise UsageError(f"channels {self.channels}: expected a multiple of 4")
        # The thinnest windows are a quarter of the side, and half of that is their shift; tiles lie on a grid of 16.
        if self.window not in (8, 16):
            raise UsageError(f"window {self.window}: expected 8 or 16")
