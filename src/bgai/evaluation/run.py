"""Tests: from an option file to scores over sets of images and a report, over as many stops as it takes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bgai import provenance
from bgai.cluster.pool import Pool, check_cluster, run_on_cluster
from bgai.datasets.matlab_resize import imresize
from bgai.datasets.pairs import PairedImages, make_lr, open_images
from bgai.errors import BgaiError, EngineError, ImageError, UsageError, listed
from bgai.evaluation.html_report import Example, write_page
from bgai.evaluation.image_sets import open_pairs
from bgai.evaluation.measuring import Enlarger, Measured, Measurer, Place, TestSets
from bgai.evaluation.on_cluster import Measuring
from bgai.evaluation.result_folder import Results
from bgai.evaluation.scores import unmeasurable
from bgai.options.evaluation import SingleDataset, TestOptions
from bgai.options.sections import PairedDataset
from bgai.types import EngineName, Progress, RgbImage
from bgai.upscaling.memory_plan import COMMAND_MEMORY
from bgai.weights.shapes import parameter_count

Paired = Mapping[str, PairedImages]
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
    pool: Pool | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Results:
    """Measure weights on sets of images, and leave everything in `root`/NAME.

    Args:
        options: A parsed option file.
        engine: `auto`, `openvino`, `native` or `torch`.
        device: `auto`, `cpu`, `cuda`, …; with `num_gpu: 0` always `cpu`.
        only: Names of the sets to measure on, of those in the file; none for all.
        overwrite: Measure again what was measured before.
        root: Folder of all results; None is the option file's, or `results`.
        pool: The cluster whose machines measure; None measures here. All machines see the same images, weights and
            results under the same paths.

    Raises:
        BgaiError: Images are missing, damaged or do not match, all of them named; the weights do not fit; …
    """
    chosen = _chosen(options, only)
    device = "cpu" if options.num_gpu == 0 else device
    if pool:
        device = pool.choose_device(device)
        check_cluster(pool)
    paired = _open_pairs([dataset for dataset in chosen if isinstance(dataset, PairedDataset)], options, progress)
    enlarge = Enlarger(options, engine, device, COMMAND_MEMORY if pool else None)
    root = root or options.path.results_root or Path("results")
    results = Results(root, options.name, _describe(options, enlarge, pool), overwrite)
    sets = _sets(chosen, paired, options, results)
    measure = Measurer(options, sets, enlarge)
    _check_images(paired, options, results, progress)
    sizes = sets.sizes()
    enlarge.check_memory(sizes)
    results.begin()
    places = [(name, image) for name, images in sets.names().items() for image in images]
    left = [place for place in places if not _is_done(place, sets, results)]
    outcomes: Iterable[tuple[Place, Measured | EngineError]] = ((place, measure(place)) for place in left)
    if pool and left:
        work = Measuring(options, sets, engine, device, enlarge.memory_needed(sizes), results.run)
        outcomes = run_on_cluster(left, work, pool)
    examples = _collect(outcomes, left, sets, results, progress)
    results.arrange(places)
    results.summarise()
    if results.measurements:
        write_page(results, _examples(paired, enlarge, results, examples))
    return results


def _describe(options: TestOptions, enlarge: Enlarger, pool: Pool | None) -> dict[str, Any]:
    """All that the figures depend on, in what JSON can hold."""
    machine = provenance.machine()
    if pool:
        machine = f"a cluster, with {pool.cpus} CPU cores and {pool.gpus:g} GPUs for each image; driver: {machine}"
    return {
        "name": options.name,
        "scale": options.scale,
        "weights": enlarge.weights.name,
        **enlarge.identity(),
        "parameters": parameter_count(enlarge.upscaler.network) if enlarge.upscaler.network else None,
        "commit": provenance.commit(),
        "machine": machine,
        "versions": provenance.versions("torch", "openvino", "numpy", "pyvips", "pyiqa"),
        "options": json.loads(options.model_dump_json(exclude_none=True)),
    }


def _chosen(options: TestOptions, only: Sequence[str]) -> list[PairedDataset | SingleDataset]:
    datasets = options.datasets.all()
    names = [dataset.name for dataset in datasets]
    if unknown := [name for name in only if name not in names]:
        raise UsageError(f"--only {listed(unknown)}: the option file has {', '.join(names)}")
    return [dataset for dataset in datasets if not only or dataset.name in only]


def _open_pairs(datasets: Sequence[PairedDataset], options: TestOptions, progress: Progress) -> dict[str, PairedImages]:
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


def _sets(
    chosen: Sequence[PairedDataset | SingleDataset], paired: Paired, options: TestOptions, results: Results
) -> TestSets:
    single = {
        dataset.name: open_images([dataset.dataroot_lq], dataset.io_backend.type == "lmdb")
        for dataset in chosen
        if isinstance(dataset, SingleDataset)
    }
    kept = {dataset.name for dataset in chosen if options.keeps_images(dataset)}
    return TestSets(paired, single, kept, results.folder / "visualization", options.val.suffix or options.name)


def _check_images(sets: Paired, options: TestOptions, results: Results, progress: Progress) -> None:
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


def _is_done(place: Place, sets: TestSets, results: Results) -> bool:
    """Whether an earlier run measured an image, or enlarged one without reference."""
    return sets.picture(place).exists() if place[0] in sets.single else results.has(*place)


def _collect(
    outcomes: Iterable[tuple[Place, Measured | EngineError]],
    left: Sequence[Place],
    sets: TestSets,
    results: Results,
    progress: Progress,
) -> Examples:
    """Add what is measured to the results, as it comes.

    Args:
        outcomes: What becomes of the images that are left.
        left: Those images, in the order in which they are begun.
        sets: All images.
        results: Where measurements are added.
        progress: Called with the name of a set, how many of its images are done, and all.

    Returns:
        Examples of the extremes, of images that were measured in this process.

    Raises:
        EngineError: Some images could not be measured.
    """
    totals = {name: len(images) for name, images in sets.names().items()}
    done = Counter(totals)
    done.subtract(name for name, _ in left)
    for name, _ in left[:1]:
        progress(name, done[name], totals[name])
    examples: Examples = {}
    problems = []
    for place, outcome in outcomes:
        if isinstance(outcome, EngineError):
            problems.append(f"{': '.join(place)}: {outcome}")
            continue
        if outcome.measurement:
            results.add(outcome.measurement)
        if outcome.images:
            examples |= _cut_examples(place, outcome.images, results)
        name = place[0]
        done[name] += 1
        progress(name, done[name], totals[name])
    if problems:
        raise EngineError("all other images were measured:\n  " + listed(problems, "\n  "))
    return examples


def _cut_examples(place: Place, images: tuple[RgbImage, RgbImage, RgbImage], results: Results) -> Examples:
    """Those of an image that was measured just now, if it is an extreme of its set so far."""
    name, image = place
    extremes = _extremes(results, name)
    return {
        (name, most): Example.cut(name, image, most, *images) for most, extreme in extremes.items() if extreme == image
    }


def _extremes(results: Results, name: str) -> dict[bool, str]:
    """Of a set, the image that gains most over bicubic (True) and, where it is another one, the least (False)."""
    ordered = sorted(results.of_set(name), key=lambda measurement: measurement.gain)
    most, least = ordered[-1].image, ordered[0].image
    return {True: most} if most == least else {True: most, False: least}


def _examples(sets: Paired, enlarge: Enlarger, results: Results, kept: Examples) -> list[Example]:
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
