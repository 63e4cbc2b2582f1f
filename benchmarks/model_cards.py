"""The cards of the weights in the package as Markdown, and pictures of what they make of the same inputs.

python benchmarks/model_cards.py TESTSETS [-o docs/weights.md]

Their scores are those that benchmarks/ship.py wrote into them; bicubic enlargement and the authors' weights, which are
downloaded, are measured here, on TESTSETS as for benchmarks/results.py. Stopped, it goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from page import made_by, replace_figures
from progress import show
from sets import SETS, benchmark_options, compressed
from sheet import Pixels, crop, write_sheet
from ship import QUALITIES, scores

from bgai.datasets.degradation import jpeg
from bgai.datasets.matlab_resize import imresize
from bgai.errors import BgaiError, WeightsError
from bgai.evaluation.result_folder import Results
from bgai.evaluation.run import run_test
from bgai.network.config import GRID, SCALES
from bgai.pictures.reading import read_rgb8
from bgai.provenance import short
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.catalogue import Entry, Scores, catalogue
from bgai.weights.sources import SHIPPED_NAMES

EXAMPLES = Path(__file__).parents[1] / "examples"
SHEETS = {2: "weights-x2.webp", 4: "weights-x4.webp"}
CELL = 352, 240
MARGIN = 64
# File, quality of JPEG, and the centre of what is shown, in low-resolution pixels.
INPUTS = (
    ("cat.webp", None, (172, 116)),
    ("cat.webp", 60, (172, 116)),
    ("house.png", None, (252, 228)),
    ("house.png", 75, (252, 228)),
    ("coffee.webp", 40, (362, 275)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("testsets", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="the page; without it, the console, and no pictures")
    parser.add_argument("--scale", nargs="+", type=int, default=SCALES, help="tables of these alone")
    parser.add_argument("--sets", nargs="+", default=SETS, help="measure on these alone")
    options = parser.parse_args()
    entries = [entry for name in SHIPPED_NAMES for entry in shipped(name)]
    parts = [card(entry) for entry in entries]
    for scale in options.scale:
        authors = measure(options.testsets, scale, options.sets)
        columns: dict[str, Scores] = {"bicubic": scores(authors, bicubic=True)}
        columns |= {entry.name: entry.scores for entry in entries if entry.scale == scale}
        parts.append(table(scale, {**columns, "official": scores(authors)}, options.sets))
    text = "\n\n".join((*parts, made_by())) + "\n"
    if options.output is None:
        print(text)
        return
    replace_figures(options.output, text)
    for scale, name in SHEETS.items():
        if scale in options.scale:
            write_sheet(
                options.output.parent / name, rows(scale, [entry.name for entry in entries if entry.scale == scale])
            )


def shipped(name: str) -> list[Entry]:
    try:
        return catalogue(name)
    except WeightsError:  # the package holds none
        return []


def measure(testsets: Path, scale: int, sets: Sequence[str]) -> Results:
    options = benchmark_options(f"cards_official_x{scale}", testsets, scale, "official", sets, QUALITIES)
    return run_test(options, device="cpu", progress=show)


def card(entry: Entry) -> str:
    assert entry.file is not None
    size, digest = entry.file.stat().st_size, hashlib.sha256(entry.file.read_bytes()).hexdigest()
    facts = {
        "for": entry.purpose,
        "trained on": entry.data,
        "taught by": entry.teacher,
        "training": f"{entry.minutes:g} minutes, {count(entry)}" if entry.minutes else None,
        "commit": entry.commit,
        "clean pictures": ", ".join(f"{name} {pair(entry.scores[name])}" for name in SETS if name in entry.scores),
        "parameters": f"{entry.parameters:,}",
        "halo": f"{entry.halo} pixels",
        "file": f"`{entry.file.name}`, {size:,} bytes, SHA-256 `{digest}`",
    }
    told = [f"| {name} | {value} |" for name, value in facts.items() if value]
    return "\n".join([f"### {entry.name} ×{entry.scale}", "", "| | |", "|---|---|", *told, *trainings(entry)])


def count(entry: Entry) -> str:
    runs = len(entry.history)
    iterations = sum(run.iterations for run in entry.history)
    return f"{iterations:,} iterations" + (f", in {runs} trainings, each from the one before:" if runs > 1 else "")


def trainings(entry: Entry) -> list[str]:
    if len(entry.history) < 2:
        return []
    lines = [
        f"| {run.iterations:,} | {run.minutes:g} | ×{run.scale} | {run.data} | {run.teacher or ''} | {run.loss} |"
        f" {run.seed} | {short(run.commit)} |"
        for run in entry.history
    ]
    return ["", "| iterations | minutes | scale | data | teacher | loss | seed | commit |", "|" + "---|" * 8, *lines]


def table(scale: int, columns: Mapping[str, Scores], sets: Iterable[str]) -> str:
    """Rows of a set's scores by weights, columns by compression."""
    head = " | ".join("clean" if quality is None else f"JPEG {quality}" for quality in QUALITIES)
    lines = [f"**×{scale}**", "", f"| set | weights | {head} |", "|---|---|" + "---|" * len(QUALITIES)]
    for name in sets:
        for weights, found in columns.items():
            cells = " | ".join(pair(found.get(compressed(name, quality))) for quality in QUALITIES)
            lines.append(f"| {name} | {weights} | {cells} |")
    return "\n".join(lines)


def pair(found: Mapping[str, float] | None) -> str:
    return f"{found['psnr']:.2f} / {found['ssim']:.4f}" if found else ""


def rows(scale: int, names: Sequence[str]) -> list[dict[str, Pixels]]:
    """A row of pictures for each input: bicubic, and each of the weights."""
    upscalers = {name: Upscaler(scale, name) for name in (*names, "official")}
    return [row(scale, upscalers, *given) for given in INPUTS]


def row(
    scale: int, upscalers: Mapping[str, Upscaler], file: str, quality: int | None, centre: tuple[int, int]
) -> dict[str, Pixels]:
    image = read_rgb8(EXAMPLES / file)
    image = image if quality is None else jpeg(image, quality)
    # No more is enlarged than what is seen and what has a say in it.
    left, top = (max(at - cell // scale // 2 - MARGIN, 0) // GRID * GRID for at, cell in zip(centre, CELL, strict=True))
    right, bottom = (at + cell // scale // 2 + MARGIN for at, cell in zip(centre, CELL, strict=True))
    part = np.ascontiguousarray(image[top:bottom, left:right])
    enlarged = {"bicubic": imresize(part, scale)} | {name: one.upscale(part) for name, one in upscalers.items()}
    place = (scale * (centre[0] - left) - CELL[0] // 2, scale * (centre[1] - top) - CELL[1] // 2)
    return {name: crop(pixels, *place, *CELL) for name, pixels in enlarged.items()}


if __name__ == "__main__":
    try:
        main()
    except BgaiError as error:
        sys.exit(f"model_cards.py: {error}")
