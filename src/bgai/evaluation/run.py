"""Tests: from an option file to scores over sets of images and a report, over as many stops as it takes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bgai import provenance
from bgai.datasets.matlab_resize import imresize
from bgai.datasets.pairs import Images, PairedImages, make_lr, open_images
from bgai.engines.selection import check_engine
from bgai.errors import BgaiError, ImageError, UsageError, listed
from bgai.evaluation.averaged_tiles import enlarge_averaging
from bgai.evaluation.html_report import Example, write_page
from bgai.evaluation.image_sets import open_pairs
from bgai.evaluation.orientations import enlarge_in_all_orientations
from bgai.evaluation.result_folder import Measurement, Results
from bgai.evaluation.scores import Scorer, unmeasurable
from bgai.names import path_within
from bgai.network.config import NetworkConfig
from bgai.options.evaluation import SingleDataset, TestOptions
from bgai.options.sections import PairedDataset
from bgai.pictures.writing import save_rgb_png
from bgai.types import EngineName, Progress, RgbImage, Size
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.shapes import parameter_count
from bgai.weights.sources import Weights, find_weights

Sets = Mapping[str, PairedImages]
Examples = dict[tuple[str, bool], Example]
"""By set, and whether it is the image of the largest gain or of the smallest."""


def run_test(
    options: TestOptions,
    *,
    engine: EngineName = "auto",
    device: str = "auto",
    only: Sequence[str] = (),
    overwrite: bool = False,
    root: Path | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Results:
    """Measure weights on sets of images, and leave everything in `root`/NAME.

    Args:
        options: A parsed option file.
        engine: `auto`, `openvino` or `torch`.
        device: `auto`, `cpu`, `cuda`, …; with `num_gpu: 0` always `cpu`.
        only: Names of the sets to measure on, of those in the file; none for all.
        overwrite: Measure again what was measured before.
        root: Folder of all results; None is the option file's, or `results`.

    Raises:
        BgaiError: Images are missing, damaged or do not match, all of them named; the weights do not fit; …
    """
    chosen = _chosen(options, only)
    paired = [dataset for dataset in chosen if isinstance(dataset, PairedDataset)]
    sets = _open_sets(paired, options, progress)
    single = {
        dataset.name: open_images([dataset.dataroot_lq], dataset.io_backend.type == "lmdb")
        for dataset in chosen
        if isinstance(dataset, SingleDataset)
    }
    enlarge = Enlarger(options, engine, "cpu" if options.num_gpu == 0 else device)
    scorer = Scorer(options.val.metrics)
    root = root or options.path.results_root or Path("results")
    results = Results(root, options.name, _describe(options, enlarge), overwrite)
    _check_images(sets, options, results, progress)
    enlarge.check_memory({name: pairs.sizes() for name, pairs in sets.items()})
    enlarge.check_memory({name: [images.size(key) for key in images.keys] for name, images in single.items()})
    results.begin()
    kept = {dataset.name for dataset in chosen if options.keeps_images(dataset)}
    examples: Examples = {}
    for name, pairs in sets.items():
        _measure(name, pairs, options, enlarge, scorer, results, examples, progress, name in kept)
    for name, images in single.items():
        _enlarge_all(name, images, options, enlarge, results, progress)
    results.summarise()
    if results.measurements:
        write_page(results, _examples(sets, enlarge, results, examples))
    return results


class Enlarger:
    """Enlarges whole images in the way that the option file says."""

    def __init__(self, options: TestOptions, engine: EngineName, device: str) -> None:
        weights = find_weights(options.path.pretrain_network_g, options.scale)
        self.weights = dataclasses.replace(weights, key=options.path.param_key_g)
        averaging = options.model_type == "TileModel"
        tile = options.tile if options.tile is not None else 64 if averaging else 0
        self._averaged_tile = tile if averaging and isinstance(tile, int) else 0
        tile = "auto" if options.val.use_chop and options.tile is None and not averaging else tile
        self._ensemble = options.val.selfensemble_testing
        self.whole = tile == 0
        own_tile = None if tile == "auto" else 0 if averaging else tile
        self.upscaler = Upscaler(options.scale, self.weights, check_engine(engine), device, tile=own_tile)
        if self.upscaler.network:
            _check_settings(options, self.weights, self.upscaler.network)

    def __call__(self, lr: RgbImage) -> RgbImage:
        if self._averaged_tile:
            return enlarge_averaging(self.upscaler.engine, lr, self._averaged_tile)
        if self._ensemble:
            return enlarge_in_all_orientations(self.upscaler.engine, lr)
        return self.upscaler.upscale(lr)

    def prepare(self, lr: RgbImage) -> None:
        """Compile for this size before it is timed."""
        if not self._averaged_tile:
            self.upscaler.prepare(lr)

    def check_memory(self, sets: Mapping[str, Sequence[Size]]) -> None:
        """Refuse whole images that memory cannot hold."""
        engine = self.upscaler.engine
        free = engine.free_memory()
        for name, sizes in sets.items() if self.whole else ():
            height, width = max(sizes, key=lambda size: size[0] * size[1])
            if (needed := height * width * engine.bytes_per_pixel) > free:
                raise ImageError(
                    f"{name}: an image of {width} x {height} pixels as a whole takes {needed / 2**30:.1f} GiB, of which"
                    f" {free / 2**30:.1f} are free; set  model_type: SRModel  and  tile: auto"
                )


def _check_settings(options: TestOptions, weights: Weights, config: NetworkConfig) -> None:
    """Refuse settings in the option file that are not those of the weights."""
    given = options.network_g.model_dump(exclude={"type", "upscale_factor"}, exclude_none=True)
    held = dataclasses.asdict(config)
    if differing := [name for name, value in given.items() if held[name] != value]:
        raise UsageError(f"network_g: {differing[0]} {given[differing[0]]}; {weights.name} has {held[differing[0]]}")


def _describe(options: TestOptions, enlarge: Enlarger) -> dict[str, Any]:
    """All that the figures depend on, in what JSON can hold."""
    return {
        "name": options.name,
        "scale": options.scale,
        "weights": enlarge.weights.name,
        "weights_sha256": hashlib.sha256(enlarge.weights.file.read_bytes()).hexdigest(),
        "parameters": parameter_count(enlarge.upscaler.network) if enlarge.upscaler.network else None,
        "engine": enlarge.upscaler.engine.name,
        "device": enlarge.upscaler.engine.device,
        "commit": provenance.commit(),
        "machine": provenance.machine(),
        "versions": provenance.versions("torch", "openvino", "numpy", "pyvips", "pyiqa"),
        "options": json.loads(options.model_dump_json(exclude_none=True)),
    }


def _chosen(options: TestOptions, only: Sequence[str]) -> list[PairedDataset | SingleDataset]:
    datasets = options.datasets.all()
    names = [dataset.name for dataset in datasets]
    if unknown := [name for name in only if name not in names]:
        raise UsageError(f"--only {listed(unknown)}: the option file has {', '.join(names)}")
    return [dataset for dataset in datasets if not only or dataset.name in only]


def _open_sets(datasets: Sequence[PairedDataset], options: TestOptions, progress: Progress) -> dict[str, PairedImages]:
    """Open all sets, making folders of low-resolution images that are not there; every problem is named."""
    sets, problems = {}, []
    for dataset in datasets:
        try:
            for hr, lr in zip(dataset.gt_folders, dataset.lq_folders, strict=False):
                if not lr.exists() and dataset.io_backend.type == "disk":
                    progress(f"{dataset.name}: making {lr}", 0, 1)
                    make_lr(hr, lr, options.scale, dataset.filename_tmpl)
            sets[dataset.name] = open_pairs(dataset, options.scale, degraded_by=options.manual_seed)
        except BgaiError as error:
            problems.append(f"{dataset.name}: {error}")
    if problems and len(datasets) > 1:
        problems.append("sets can be left out: " + " ".join(f"--only {name}" for name in sets or ["NAME"]))
    _refuse(problems)
    return sets


def _check_images(sets: Sets, options: TestOptions, results: Results, progress: Progress) -> None:
    """Read all that is still to be measured: what is damaged should not be met after hours."""
    problems = []
    for name, pairs in sets.items():
        left = [image for image in pairs.names if not results.has(name, image)]
        done = 0

        def count(name: str = name, total: int = len(left)) -> None:
            nonlocal done
            done += 1
            progress(f"{name}: reading", done, total)

        new = pairs.problems(left, count) or unmeasurable(pairs, options.val.metrics)
        problems += [f"{name}: {problem}" for problem in new]
    _refuse(problems)


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise ImageError("nothing was measured:\n  " + listed(problems, "\n  "))


def _measure(
    name: str,
    pairs: PairedImages,
    options: TestOptions,
    enlarge: Enlarger,
    scorer: Scorer,
    results: Results,
    examples: Examples,
    progress: Progress,
    keeps_images: bool,
) -> None:
    """Measure the images of a set that were not measured before, and keep examples of the extremes."""
    for index, image in enumerate(pairs.names):
        progress(name, index, len(pairs))
        if results.has(name, image):
            continue
        lr, hr = pairs.read(index)
        enlarge.prepare(lr)
        sr, seconds = _timed(enlarge, lr)
        bicubic, bicubic_seconds = _timed(partial(imresize, factor=options.scale), lr)
        if keeps_images:
            save_rgb_png(_picture(results, options, name, image), sr)
        megapixels = sr.shape[0] * sr.shape[1] / 1e6
        results.add(Measurement(name, image, megapixels, seconds, scorer(sr, hr), bicubic_seconds, scorer(bicubic, hr)))
        for most, extreme in _extremes(results, name).items():
            if extreme == image:
                examples[name, most] = Example.cut(name, image, most, bicubic, sr, hr)
    progress(name, len(pairs), len(pairs))


def _enlarge_all(
    name: str, images: Images, options: TestOptions, enlarge: Enlarger, results: Results, progress: Progress
) -> None:
    """Enlarge the images of a set without references, those that an earlier run did not."""
    for index, image in enumerate(images.keys):
        progress(name, index, len(images.keys))
        target = _picture(results, options, name, image)
        if not target.exists():
            save_rgb_png(target, enlarge(images.read(image)))
    progress(name, len(images.keys), len(images.keys))


def _picture(results: Results, options: TestOptions, name: str, image: str) -> Path:
    """Where the enlarged image of a set is kept."""
    suffix = options.val.suffix or options.name
    return path_within(results.folder / "visualization" / name, f"{image}_{suffix}.png")


def _timed(enlarge: Callable[[RgbImage], RgbImage], lr: RgbImage) -> tuple[RgbImage, float]:
    start = time.perf_counter()
    return enlarge(lr), time.perf_counter() - start


def _extremes(results: Results, name: str) -> dict[bool, str]:
    """Of a set, the image that gains most over bicubic (True) and, where it is another one, the least (False)."""
    ordered = sorted(results.of_set(name), key=lambda measurement: measurement.gain)
    most, least = ordered[-1].image, ordered[0].image
    return {True: most} if most == least else {True: most, False: least}


def _examples(sets: Sets, enlarge: Enlarger, results: Results, kept: Examples) -> list[Example]:
    """Of each set, the images that gain most and least; those that an earlier run measured are enlarged once more."""
    examples = []
    for name, pairs in sets.items():
        for most, image in _extremes(results, name).items():
            example = kept.get((name, most))
            if example is None or example.image != image:
                lr, hr = pairs.read(list(pairs.names).index(image))
                bicubic = imresize(lr, results.run["scale"])
                example = Example.cut(name, image, most, bicubic, enlarge(lr), hr)
            examples.append(example)
    return examples
