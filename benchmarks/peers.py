"""Picture quality over time: our networks and others' at ×4, on the same pictures.

python benchmarks/peers.py TESTSETS CLONES [--rounds 5] [--threads N] [--peer NAME ...] [--openvino]
    [--json FILE] [--plot FILE.png] [--measured FILE]

TESTSETS holds Set5 and Set14 as `results.py` reads them. CLONES is a folder of repositories whose code and weights are
used; a peer whose clone is missing says so in the table:

    git clone https://github.com/bbbolt/BGAI CLONES/BGAI
    for name in Zheng222/IMDN zhoumumu/VapSR zhaohengyuan1/PAN nmhkahn/CARN-pytorch Fried-Rice-Lab/FriedRiceLab \\
        sunny2109/SAFMN Amazingren/NTIRE2024_ESR Saafke/FSRCNN_Tensorflow fannymonori/TF-ESPCN
    do git clone https://github.com/$name CLONES/${name#*/}; done

    python3 -m venv PEERS
    PEERS/bin/pip install -e ".[train]" einops safetensors typing_extensions opencv-contrib-python-headless
    PEERS/bin/pip install --no-deps spandrel

Each peer runs in a process of its own, in float32 on the CPU. It enlarges both sets once, which gives its PSNR-Y. Then
rounds of all peers alternate, in which Set5 is enlarged. Networks run as their authors run them, eagerly in PyTorch;
with --openvino also converted for the engine that ours run in. --json keeps what was measured, and --measured makes the
table and the plot of it again. The plot shows the processor's seconds, which other programs on the machine change less
than the clock's.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peer_networks
from peer_networks import CONVERTED, PEERS, SCALE
from progress import show
from sets import originals

from bgai.atomic_files import whole_or_nothing
from bgai.benchmark.cases import limit_cpus
from bgai.benchmark.report import outputs, record, spread
from bgai.benchmark.rounds import compare
from bgai.datasets.pairs import PairedImages
from bgai.errors import BgaiError, UsageError
from bgai.evaluation.metrics import psnr
from bgai.types import RgbImage

SETS = ("Set5", "Set14")
"""Rounds enlarge the first."""
WARM_UPS = 1
OURS, OTHERS = "#c0392b", "#4a6785"
NEAR = 1.5
"""In dB: what lies further below the best is in the table alone."""
CLOSE = 7
LABEL_PLACES = [
    (distance * x, distance * y, ("right", "center", "left")[x + 1], ("top", "center", "bottom")[y + 1])
    for distance in (CLOSE, 18, 30, 42)
    for x, y in ((-1, 0), (0, 1), (0, -1), (1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
]
"""Offset of a label from its point in points, and how it is aligned to that place; the first that is free is taken."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one peer; seconds are for a megapixel of the result."""

    name: str
    psnr: Mapping[str, float]
    """In dB, by set."""
    seconds: Sequence[float]
    """Of each round."""
    processor_seconds: Sequence[float]
    """Of each round, over all threads."""
    ratios: Sequence[float]
    """Those over the first peer's in the same round."""
    peak_bytes: int
    error: str


def main() -> None:
    options = parse()
    if options.plot and options.plot.suffix not in (".png", ".webp"):
        raise UsageError(f"{options.plot}: expected a name that ends in .png or .webp")
    measured = json.loads(options.measured.read_text("utf-8")) if options.measured else measure(options)
    rows = read_rows(measured)
    if options.plot:
        with whole_or_nothing(options.plot) as partial:
            draw(rows, partial, options.plot.suffix[1:])
    print(table(rows))
    rounds, load = measured["settings"]["rounds"], measured["settings"]["load"]
    made = f"{measured['machine']}, {measured['threads']} threads, with {measured['versions']}"
    print(f"\nMade on {made}; {rounds} rounds; load {load:.1f}; commit {measured['commit']}.")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("testsets", type=Path, metavar="TESTSETS")
    parser.add_argument("clones", type=Path, metavar="CLONES")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="CPUs that each peer may use; all without it")
    parser.add_argument("--peer", action="append", choices=PEERS, help="may be given several times; all without it")
    parser.add_argument("--openvino", action="store_true", help="PyTorch's networks also in OpenVINO")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--measured", type=Path, metavar="FILE", help="show what --json wrote, and measure nothing")
    return parser.parse_args()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Enlarge, compare with the originals, and time; returns what --json keeps."""
    names = options.peer or [name for name in PEERS if options.openvino or not name.endswith(CONVERTED)]
    if options.threads:
        limit_cpus(options.threads)
    script, load = peer_networks.__file__, os.getloadavg()[0]
    with outputs(options.json, None, None) as write, tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        hrs = {name: save_pictures(options.testsets / name, work / "pictures" / name) for name in SETS}
        commands = {name: [sys.executable, script, name, folder, str(options.clones), *SETS] for name in names}
        found = compare("PSNR over time", commands, rounds=options.rounds, warm_ups=WARM_UPS, progress=show)
        settings = {
            "rounds": options.rounds,
            "load": load,
            "megapixels": sum(hr[..., 0].size for hr in hrs[SETS[0]]) / 1e6,
            "psnr": {
                result.name: {} if result.error else scores(hrs, work / "results" / result.name)
                for result in found.results
            },
        }
        write([found], settings)
    return record([found], settings)


def save_pictures(testset: Path, folder: Path) -> list[RgbImage]:
    """Save a set's low-resolution images as arrays, and return the originals."""
    pairs = PairedImages(originals(testset, SCALE), testset / f"X{SCALE}", SCALE)
    folder.mkdir(parents=True)
    hrs = []
    for index in range(len(pairs)):
        lr, hr = pairs.read(index)
        np.save(folder / f"{index:03}.npy", lr)
        hrs.append(hr)
    return hrs


def scores(hrs: Mapping[str, Sequence[RgbImage]], results: Path) -> dict[str, float]:
    """The mean PSNR-Y of each set that a peer has enlarged."""
    pairs = {name: zip(sorted((results / name).iterdir()), images, strict=True) for name, images in hrs.items()}
    return {name: statistics.mean(psnr(np.load(file), hr, SCALE) for file, hr in pairs[name]) for name in hrs}


def read_rows(measured: Mapping[str, Any]) -> list[Row]:
    """From what --json keeps; the fastest first."""
    settings, (comparison,) = measured["settings"], measured["comparisons"]
    first, pixels = comparison["results"][0]["cpu_seconds"], settings["megapixels"]
    rows = [
        Row(
            result["name"],
            settings["psnr"][result["name"]],
            [seconds / pixels for seconds in result["seconds"]],
            [seconds / pixels for seconds in result["cpu_seconds"]],
            [seconds / ours for seconds, ours in zip(result["cpu_seconds"], first, strict=False)],
            result["peak_bytes"],
            result["error"],
        )
        for result in comparison["results"]
    ]
    return sorted(rows, key=cost)


def cost(row: Row) -> float:
    return statistics.median(row.processor_seconds) if row.processor_seconds else math.inf


def table(rows: Sequence[Row]) -> str:
    """In Markdown; published PSNR in brackets."""
    head = ["", "trained on", *SETS, "of the processor", "times", "seconds", "peak MiB"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        peer = PEERS[row.name]
        if row.error:
            cells = [f"not run: {row.error}", *[""] * (len(head) - 2)]
        else:
            cells = [
                peer.trained_on,
                *(score(row.psnr[name], peer.published.get(name)) for name in SETS),
                spread(row.processor_seconds),
                spread(row.ratios),
                f"{statistics.median(row.seconds):#.3g}",
                f"{row.peak_bytes / 2**20:,.0f}",
            ]
        lines.append([row.name, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def score(measured: float, published: float | None) -> str:
    return f"{measured:.2f}" + (f" ({published:.2f})" if published is not None else "")


def draw(rows: Sequence[Row], target: Path, format: str) -> None:
    """Draw PSNR over seconds for a megapixel, a panel for each set; what PyTorch runs eagerly is hollow."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(9, 10), layout="constrained", facecolor="white")
    panels = figure.subplots(len(SETS), 1)
    points = [{row.name: (cost(row), row.psnr[name]) for row in rows if not row.error} for name in SETS]
    for panel, name, places in zip(panels, SETS, points, strict=True):
        panel.set(xscale="log", xlabel="seconds of the processor for a megapixel of the result")
        panel.set(ylabel=f"PSNR-Y on {name}, dB")
        panel.grid(which="both", alpha=0.2)
        panel.margins(x=0.1, y=0.1)
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter("")
        draw_points(panel, places)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # labels leave the panels where they are
    for panel, places in zip(panels, points, strict=True):
        place_labels(panel, labels(near(places)), list(places.values()))
    figure.savefig(target, dpi=100, format=format)


Points = Mapping[str, tuple[float, float]]


def near(points: Points) -> Points:
    best = max(psnr_y for _, psnr_y in points.values())
    return {name: point for name, point in points.items() if point[1] > best - NEAR}


def labels(points: Points) -> Points:
    """Where each label belongs: a network that runs in both has one label."""
    return {name: points.get(name + CONVERTED, point) for name, point in points.items() if not name.endswith(CONVERTED)}


def draw_points(panel: Any, points: Points) -> None:
    for name, point in near(points).items():
        colour = OURS if name.startswith("bgai") else OTHERS
        filled = name.startswith("bgai") or name.endswith(CONVERTED)
        panel.plot(*point, "o", color=colour, markerfacecolor=colour if filled else "white", zorder=3)
        original = points.get(name.removesuffix(CONVERTED), point)
        panel.plot(*zip(original, point, strict=True), color=colour, alpha=0.4, linewidth=1)


def place_labels(panel: Any, labels: Points, points: Sequence[tuple[float, float]]) -> None:
    """Write each label beside its point, where it covers neither a point nor another label; a line leads far ones."""
    room = panel.get_window_extent()
    taken = [panel.transData.transform(point) for point in points]
    boxes: list[Any] = []
    for text, point in labels.items():
        colour = OURS if text.startswith("bgai") else "black"
        for x, y, across, up in LABEL_PLACES:
            place = {"xytext": (x, y), "textcoords": "offset points"}
            label = panel.annotate(text, point, ha=across, va=up, fontsize=9, color=colour, **place)
            box = label.get_window_extent().padded(4)
            inside = room.x0 < box.x0 and box.x1 < room.x1 and room.y0 < box.y0 and box.y1 < room.y1
            if inside and not any(box.contains(*spot) for spot in taken) and not box.count_overlaps(boxes):
                break
            label.remove()
        boxes.append(box)
        if max(abs(x), abs(y)) > CLOSE:
            panel.annotate("", point, arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "grey"}, **place)


if __name__ == "__main__":
    try:
        main()
    except BgaiError as error:
        sys.exit(f"peers.py: {error}")
