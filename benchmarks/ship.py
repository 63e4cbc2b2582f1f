"""Puts trained weights into the package, with a card: what for, how they were trained, how good, and their halo.

python benchmarks/ship.py WEIGHTS bgai|photo TESTSETS [--picture house_hr.png] [--after FILE...]

The card is metadata of the file, which `bgai weights` shows and benchmarks/model_cards.py writes to docs/weights.md.
TESTSETS is as for benchmarks/results.py; the sets are measured clean and as JPEG. Stopped, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from progress import show
from sets import SETS, benchmark_options
from tiles import smallest_halo

from bgai.errors import BgaiError, ImageError, WeightsError
from bgai.evaluation.result_folder import Results, means
from bgai.evaluation.run import run_test
from bgai.network.config import NetworkConfig
from bgai.weights.catalogue import PURPOSES
from bgai.weights.history import Run, as_json, read_history
from bgai.weights.reading import read_weights
from bgai.weights.safetensors_file import read_metadata, write_weights
from bgai.weights.sources import SHIPPED

QUALITIES = (None, 90, 75, 60, 40)
PLACES = {"psnr": 3, "ssim": 4}
STRIPES = Path("Set14/HR/barbara.png")
"""Of the test sets: fine regular stripes, which need wider halos than other pictures."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("name", choices=PURPOSES)
    parser.add_argument("testsets", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS, help="measure on these alone")
    parser.add_argument(
        "--picture", type=Path, default="house_hr.png", help="to measure the halo on, beside the stripes of Set14"
    )
    parser.add_argument(
        "--after", nargs="+", type=Path, default=[], help="weights of earlier trainings that WEIGHTS do not tell of"
    )
    options = parser.parse_args()
    config, tensors = read_weights(options.weights)
    if config != NetworkConfig(config.scale):
        raise WeightsError(
            f"{options.weights}: holds {config}; the package's weights are {NetworkConfig(config.scale)}"
        )
    pictures = [options.picture, options.testsets / STRIPES]
    check_pictures(pictures)
    target = SHIPPED / f"{options.name}_x{config.scale}.safetensors"
    card = {
        "purpose": PURPOSES[options.name],
        "history": as_json(whole_history(options.weights, options.after)),
        "halo": str(smallest_halo(options.weights, pictures)),
        "scores": json.dumps(scores(measure(options.weights, config.scale, target.stem, options))),
    }
    write_weights(config, tensors, target, read_metadata(options.weights) | card)
    print(f"{target}\n" + "\n".join(f"    {key}: {value}" for key, value in card.items()))


def whole_history(weights: Path, before: Sequence[Path]) -> list[Run]:
    """Each training once, though several files may tell of it."""
    return list(dict.fromkeys(run for file in (*before, weights) for run in read_history(file)))


def check_pictures(pictures: Sequence[Path]) -> None:
    for picture in pictures:
        if not picture.is_file():
            raise ImageError(
                f"{picture}: not there; python examples/render_scene.py --hr house_hr.png  makes the scene,"
                " docs/results.md says where the test sets are"
            )


def measure(weights: Path, scale: int, name: str, options: argparse.Namespace) -> Results:
    described = benchmark_options(f"ship_{name}", options.testsets, scale, str(weights), options.sets, QUALITIES)
    return run_test(described, device="cpu", progress=show)


def scores(results: Results, bicubic: bool = False) -> dict[str, dict[str, float]]:
    """Means over each set, of the weights or of bicubic enlargement."""
    found = {}
    for name in results.datasets:
        mean = means([measurement.bicubic if bicubic else measurement.scores for measurement in results.of_set(name)])
        found[name] = {metric: round(value, PLACES[metric]) for metric, value in mean.items()}
    return found


if __name__ == "__main__":
    try:
        main()
    except BgaiError as error:
        sys.exit(f"ship.py: {error}")
