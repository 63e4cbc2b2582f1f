"""The weights in the package and the authors' on the standard benchmarks, at all scales, as a page of Markdown.

python benchmarks/results.py TESTSETS [-o docs/results.md]

TESTSETS holds Set5, Set14 and B100, each with HR, or HR_mod2, HR_mod3 and HR_mod4; low-resolution images are taken
from X2, X3 and X4 beside them, which are made where they are not there. The authors' weights are downloaded.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from page import made_by, replace_figures
from progress import show
from sets import SETS, benchmark_options

from bgai.errors import BgaiError
from bgai.evaluation.result_folder import Results, mean, means
from bgai.evaluation.run import run_test
from bgai.network.config import SCALES

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


def table(scale: int, rows: dict[str, Results]) -> str:
    lines = [f"**×{scale}**", "", f"| weights | engine | {' | '.join(SETS)} |", "|---|---|" + "---|" * len(SETS)]
    lines.append("| bicubic | | " + " | ".join(cell(rows["bgai"], name, bicubic=True) for name in SETS) + " |")
    for weights, results in rows.items():
        cells = " | ".join(cell(results, name) for name in SETS)
        lines.append(f"| {WEIGHTS[weights]} | {results.run['engine']} | {cells} |")
    return "\n".join(lines)


def cell(results: Results, dataset: str, bicubic: bool = False) -> str:
    measurements = results.of_set(dataset)
    scores = means([measurement.bicubic if bicubic else measurement.scores for measurement in measurements])
    seconds = mean([measurement.bicubic_seconds if bicubic else measurement.seconds for measurement in measurements])
    return f"{scores['psnr']:.3f} / {scores['ssim']:.4f}, {seconds:.2f} s"


if __name__ == "__main__":
    try:
        main()
    except BgaiError as error:
        sys.exit(f"results.py: {error}")
