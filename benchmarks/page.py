"""Figures in the pages of `docs`, between two marks."""

from __future__ import annotations

from pathlib import Path

from bgai import provenance
from bgai.atomic_files import whole_or_nothing
from bgai.errors import BgaiError


def made_by() -> str:
    versions = provenance.versions("torch", "openvino", "numpy", "pyvips")
    return f"Made on {provenance.machine()} with {versions}."


def replace_figures(page: Path, text: str) -> None:
    """Put the figures between the page's two marks."""
    begin, end = "<!-- figures -->\n", "<!-- end of figures -->\n"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise BgaiError(f"{page}: expected the lines {begin.strip()} and {end.strip()} in it")
    with whole_or_nothing(page) as partial:
        partial.write_text(before + begin + text + end + after, encoding="utf-8")
