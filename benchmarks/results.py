"""The weights in the package and the authors' on the standard benchmarks, at all scales, as a page of Markdown.

python benchmarks/results.py TESTSETS [-o docs/results.md]

TESTSETS holds Set5, Set14 and B100, each with HR, or HR_mod2, HR_mod3 and HR_mod4; low-resolution images are taken
from X2, X3 and X4 beside them, which are made where they are not there. The authors' weights are downloaded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from progress import show

from bgai import provenance
from bgai.config import SCALES
from bgai.errors import BgaiError, ImageError
from bgai.files import whole_or_nothing
from bgai.options import TestOptions
from bgai.results import Results, mean, means
from bgai.testing import run_test

SETS = ("Set5", "Set14", "B100")
WEIGHTS = {"bgai": "in the package", "official": "the authors'"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("testsets", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="the page; without it, the console")
    arguments = parser.parse_args()
    tables = []
    for scale in SCALES:
        rows = {}
        for weights in WEIGHTS:
            options = benchmark_options(f"benchmarks_{weights}_x{scale}", arguments.testsets, scale, weights)
            rows[weights] = run_test(options, device="cpu", progress=show)
        tables.append(table(scale, rows))
    text = "\n\n".join((*tables, made_by())) + "\n"
    if arguments.output:
        replace_figures(arguments.output, text)
    else:
        print(text)


def benchmark_options(
    name: str,
    testsets: Path,
    scale: int,
    weights: str,
    sets: Sequence[str] = SETS,
    qualities: Sequence[int | None] = (None,),
) -> TestOptions:
    """What `bgai test` would read: each set once for each quality of JPEG, and for None as it is."""
    metrics = {
        name: {"type": f"calculate_{name}", "crop_border": scale, "test_y_channel": True} for name in ("psnr", "ssim")
    }
    datasets = {
        f"test_{compressed(one, quality)}": {
            "name": compressed(one, quality),
            "dataroot_gt": originals(testsets / one, scale),
            "dataroot_lq": testsets / one / f"X{scale}",
            **degradation(quality),
        }
        for one in sets
        for quality in qualities
    }
    return TestOptions.model_validate(
        {
            "name": name,
            "scale": scale,
            "datasets": datasets,
            "path": {"pretrain_network_g": weights},
            "val": {"metrics": metrics},
        }
    )


def compressed(name: str, quality: int | None) -> str:
    """What a set is called at a quality of JPEG."""
    return name if quality is None else f"{name}_jpeg{quality}"


def degradation(quality: int | None) -> dict[str, Any]:
    return {} if quality is None else {"degradation": {"jpeg": {"quality": quality, "subsampling": "4:2:0"}}}


def originals(folder: Path, scale: int) -> Path:
    for candidate in (folder / f"HR_mod{scale}", folder / "HR"):
        if candidate.is_dir():
            return candidate
    raise ImageError(f"{folder}: expected HR_mod{scale} or HR there")


def table(scale: int, rows: dict[str, Results]) -> str:
    lines = [f"**×{scale}**", "", f"| weights | engine | {' | '.join(SETS)} |", "|---|---|" + "---|" * len(SETS)]
    lines.append("| bicubic | | " + " | ".join(cell(rows["bgai"], name, bicubic=True) for name in SETS) + " |")
    for weights, results in rows.items():
        cells = " | ".join(cell(results, name) for name in SETS)
        lines.append(f"| {WEIGHTS[weights]} | {results.run['engine']} | {cells} |")
    return "\n".join(lines)


def cell(results: Results, dataset: str, bicubic: bool = False) -> str:
    found = results.of(dataset)
    scores = means([one.bicubic if bicubic else one.scores for one in found])
    seconds = mean([one.bicubic_seconds if bicubic else one.seconds for one in found])
    return f"{scores['psnr']:.3f} / {scores['ssim']:.4f}, {seconds:.2f} s"


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


if __name__ == "__main__":
    try:
        main()
    except BgaiError as error:
        sys.exit(f"results.py: {error}")
