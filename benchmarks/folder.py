"""Folders against the engine's own speed: mixed photographs, JPEG to JPEG, and small pictures of many sizes.

python benchmarks/folder.py mixed PICTURES [--count 200] [--jobs 1 3] [--rounds 3] [--largest 1600x1200]
python benchmarks/folder.py small PICTURES [--count 500] [--sizes 50] [--rounds 3]

Pictures are cut from those of a folder. `mixed`: their sizes go from 256 x 256 to the largest, and the time of
`run_jobs` is compared with that of the engine alone on the same tiles, of 8 bits if it knows them, with its memory
kept. `small`: sizes below 200 x 200 are compared with one size of as many pixels. Rounds alternate. CPU seconds are
those of all threads: where other programs take the processor, they tell more than seconds.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyvips

from bgai.benchmark.report import spread
from bgai.engines.base import Rgb8Engine
from bgai.pictures.reading import read_rgb8
from bgai.types import RgbImage, Size
from bgai.upscaling.batch import OutputSettings, plan_jobs, run_jobs
from bgai.upscaling.fitting import used_weights
from bgai.upscaling.memory_plan import plan_for_memory
from bgai.upscaling.upscaler import Upscaler

SCALE = 4

Run = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["mixed", "small"])
    parser.add_argument("pictures", type=Path, help="a folder, of pictures that may be smaller than those cut")
    parser.add_argument("--count", type=int, help="of pictures; 200 mixed, 500 small")
    parser.add_argument("--sizes", type=int, default=50, help="of small pictures")
    parser.add_argument("--largest", default="1600x1200")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    originals = [read_rgb8(path) for path in sorted(options.pictures.iterdir())]
    upscaler = Upscaler(SCALE)
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "mixed":
            width, height = map(int, options.largest.split("x"))
            sizes = mixed_sizes(options.count or 200, (height, width))
            save(originals, sizes, Path(folder, "mixed"))
            runs: dict[str, Run] = {"the engine alone": functools.partial(run_engine, upscaler, sizes)}
            for together in options.jobs:
                runs[f"run_jobs, {together} together"] = functools.partial(
                    run_folder, upscaler, Path(folder, "mixed"), together
                )
        else:
            many = small_sizes(options.count or 500, options.sizes)
            side = round(np.mean([height * width for height, width in many]) ** 0.5)
            save(originals, [(side, side)] * len(many), Path(folder, "one"))
            save(originals, many, Path(folder, "many"))
            runs = {
                f"{len(many)} of {side} x {side}": functools.partial(run_folder, upscaler, Path(folder, "one"), 3),
                f"{len(many)} of {len(set(many))} sizes": functools.partial(
                    run_folder, upscaler, Path(folder, "many"), 3
                ),
            }
        report(runs, options.rounds)


def mixed_sizes(count: int, largest: Size) -> list[Size]:
    """From 256 x 256 to the largest, small ones oftener than large ones; each of twenty sizes comes several times."""
    steps = [(256 * (side / 256) ** (np.arange(20) / 19) // 8 * 8).astype(int) for side in largest]
    sizes = list(zip(steps[0].tolist(), steps[1].tolist(), strict=True))
    return [sizes[index] for index in np.random.default_rng(0).integers(0, len(sizes), count)]


def small_sizes(count: int, kinds: int) -> list[Size]:
    random = np.random.default_rng(0)
    sizes = [(int(height), int(width)) for height, width in random.integers(60, 200, (kinds, 2))]
    return [sizes[index % kinds] for index in random.permutation(count)]


def save(originals: Sequence[RgbImage], sizes: Sequence[Size], folder: Path) -> None:
    """As JPEG of quality 90, cut from mosaics of mirrored originals."""
    folder.mkdir()
    for index, (height, width) in enumerate(sizes):
        picture = originals[index % len(originals)]
        padding = [(0, max(0, side - length)) for side, length in zip((height, width), picture.shape, strict=False)]
        cut = np.pad(picture, [*padding, (0, 0)], mode="symmetric")[:height, :width]
        image = pyvips.Image.new_from_memory(np.ascontiguousarray(cut).tobytes(), width, height, 3, "uchar")
        image.copy(interpretation="srgb").jpegsave(str(folder / f"{index:04}.jpg"), Q=90)


def run_engine(upscaler: Upscaler, sizes: Sequence[Size]) -> None:
    for height, width in sizes:
        image = np.broadcast_to(np.uint8(0), (height, width, 3))
        rows, columns = plan_for_memory(image, upscaler.engine, upscaler.halo, None)
        count = len(rows) * len(columns)
        tile = np.full((rows[0].length, columns[0].length, 3), 128, np.uint8)
        planes = np.full((1, 3, *tile.shape[:2]), 0.5, np.float32)
        for _ in range(count):
            if isinstance(upscaler.engine, Rgb8Engine):
                upscaler.engine.enlarge_rgb8(tile)
            else:
                upscaler.engine(planes, count)
    upscaler.release()


def run_folder(upscaler: Upscaler, folder: Path, together: int) -> None:
    with tempfile.TemporaryDirectory() as target:
        settings = OutputSettings(Path(target))
        plan = plan_jobs([folder], SCALE, settings, weights=lambda scale: used_weights(upscaler, scale))
        for outcome in run_jobs(plan.jobs, upscaler, settings, together=together):
            if isinstance(outcome.result, Exception):
                raise outcome.result


def report(runs: Mapping[str, Run], rounds: int) -> None:
    """The first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            run()
            seconds[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - cpu_start)
    print("| | seconds | times the first | CPU seconds | times the first |\n|---|---|---|---|---|")
    first = next(iter(runs))
    for name in runs:
        columns = []
        for values in (seconds, cpu):
            ratios = [ours / theirs for ours, theirs in zip(values[name][1:], values[first][1:], strict=True)]
            columns += [spread(values[name][1:]), spread(ratios)]
        print(f"| {name} | {' | '.join(columns)} |")


if __name__ == "__main__":
    main()
