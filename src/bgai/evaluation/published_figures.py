"""Figures of known networks, as their authors published them, to stand beside measured ones.

`published.json` holds them with the place where each was read; what was not found there is null.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

SETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")
_OTHER_NAMES = {"bsd100": "B100", "bsds100": "B100"}


@dataclass(frozen=True, slots=True)
class Published:
    """A network's figures at one scale: PSNR in dB and SSIM on the luma, a border of the scale cut."""

    name: str
    year: int | None
    source: str
    """Page of the paper or the code."""
    parameters: float | None
    """In thousands."""
    training: str | None
    """DIV2K, or DF2K, which is that and Flickr2K; None where it was not found."""
    scores: dict[str, tuple[float, float]]
    """PSNR and SSIM by set."""


def published(scale: int) -> list[Published]:
    """All known networks that have figures at a scale, by number of parameters."""
    networks = []
    for entry in json.loads(Path(__file__).with_name("published_figures.json").read_text(encoding="utf-8")):
        figures = entry["scales"].get(str(scale)) or {}
        scores = {name: (figures[name][0], figures[name][1]) for name in SETS if figures.get(name)}
        if scores:
            parameters = figures.get("parameters_k")
            networks.append(
                Published(entry["name"], entry["year"], entry["source"], parameters, entry["training"], scores)
            )
    return sorted(networks, key=lambda network: network.parameters or 0)


def usual_name(dataset: str) -> str | None:
    """The name that papers use for a set; None for a set that they do not use.

    Example:
        >>> usual_name("BSDS100"), usual_name("holidays")
        ('B100', None)
    """
    lowered = dataset.lower()
    return _OTHER_NAMES.get(lowered) or next((name for name in SETS if name.lower() == lowered), None)
