"""Training: from an option file to weights, over as many stops and processes as it takes."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bgai.datasets.pairs import Batches, FileBatches, MemoryBatches, PairedImages, PatchPlan, read_names
from bgai.errors import BgaiError, ImageError, listed
from bgai.evaluation.scores import unmeasurable
from bgai.network.config import GRID
from bgai.options.sections import TrainDataset, TrainOptions
from bgai.training.distributed import Launcher, World, join
from bgai.training.monitor import Report
from bgai.training.run_folder import Experiment, State, load_state
from bgai.training.trainer import Trainer


def train(
    options: TrainOptions, auto_resume: bool = False, launcher: Launcher = "none", root: Path = Path("experiments")
) -> Path:
    """Train, and leave everything in `root`/NAME.

    Args:
        options: A parsed option file.
        auto_resume: Go on from the newest whole state there, if there is one.
        launcher: `pytorch` under torchrun.
        root: Folder of the experiments.

    Returns:
        The file with the averaged weights.

    Raises:
        BgaiError: Images are missing or do not match, the loss is no longer finite, the disk is full, …
    """
    with join(options, launcher) as world:
        trainer = Trainer(options, world)
        data = TrainingData(options, world)
        experiment = Experiment(root, options.name)
        state, notes = world.share(lambda: _find_state(options, experiment, auto_resume))
        if state is not None:
            trainer.restore(state)
            notes += _changes(json.loads(state["options"]), json.loads(options.as_json()))
        report = None
        if world.is_first:
            report = Report(trainer, experiment, data.validation, data.description, data.notes + notes)
        try:
            _loop(trainer, data.batches, report)
        except torch.OutOfMemoryError:
            raise BgaiError(
                f"{world.device}: not enough memory; lower datasets.train.batch_size_per_gpu or gt_size, set"
                " train.bfloat16, or datasets.train.in_memory: false"
            ) from None
        return experiment.weights("latest")


class TrainingData:
    """The batches and validation sets of an option file, looked through before anything is trained or written."""

    def __init__(self, options: TrainOptions, world: World) -> None:
        train = options.datasets.train
        self.notes: list[str] = []
        pairs = PairedImages(train, options.scale, self._names(train))
        sizes = pairs.sizes()
        side = train.gt_size // options.scale
        small = [name for name, size in zip(pairs.names, sizes, strict=True) if min(size) < side]
        if small:
            raise ImageError(
                f"{train.dataroot_gt}: smaller than a patch of {side * options.scale} pixels are {listed(small)}; take"
                " them out, or set a smaller gt_size"
            )
        self.validation = {
            dataset.name: PairedImages(dataset, options.scale, seed=options.manual_seed)
            for dataset in options.datasets.validation.values()
        }
        for validation in self.validation.values():
            if problems := unmeasurable(validation, options.val.metrics):
                raise ImageError(listed(problems, "; "))
        plan = PatchPlan(train, options.scale, sizes, options.manual_seed, world.rank, world.size)
        self.batches: Batches
        if train.in_memory:
            self.batches = MemoryBatches(pairs, plan, sizes, world.device)
        else:
            self.batches = FileBatches(pairs, plan, train.num_worker_per_gpu, world.device)
        megapixels = sum(height * width for height, width in sizes) * options.scale**2 / 1e6
        self.description = (
            f"{len(pairs)} images, {megapixels:.0f} megapixels{', degraded' if train.degradation else ''}"
        )
        if side % GRID or train.gt_size % options.scale:
            self.notes.append(
                f"gt_size {train.gt_size}: patches of {side} x {side} pixels at low resolution are padded to multiples"
                f" of {GRID}; {options.scale * GRID * max(round(side / GRID), 1)} wastes nothing"
            )
        if not train.in_memory and train.dataroot_lq is None:
            self.notes.append("a whole image is read and shrunk for every patch: set in_memory, or use bgai prepare")

    def _names(self, options: TrainDataset) -> set[str] | None:
        path = options.meta_info_file
        if path is None:
            return None
        if not path.is_file():
            self.notes.append(f"meta_info_file {path}: not there; all images of {options.dataroot_gt} are taken")
            return None
        return read_names(path)


def _find_state(options: TrainOptions, experiment: Experiment, auto_resume: bool) -> tuple[State | None, list[str]]:
    """The state to go on from, and what was wrong with newer ones; without a state, room for a new training."""
    notes: list[str] = []
    state = experiment.newest_state(notes.append) if auto_resume else None
    if state is None and options.path.resume_state is not None:
        state = load_state(options.path.resume_state)
    if state is None:
        experiment.begin()
    else:
        experiment.forget_after(state["iteration"])
    return state, notes


def _changes(before: Any, now: Any, name: str = "") -> list[str]:
    """A line for each option that is not what it was."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        return [line for key in keys for line in _changes(before.get(key), now.get(key), f"{name}.{key}".strip("."))]
    return [] if before == now else [f"{name} was {before}, is {now}"]


def _loop(trainer: Trainer, batches: Batches, report: Report | None) -> None:
    """Step until the training is over; the first process reports, validates and saves."""
    print_freq = trainer.options.logger.print_freq
    losses = torch.zeros(len(trainer.terms), dtype=torch.float64, device=trainer.world.device)
    steps = 0
    clock = time.monotonic()
    with _stop_signals(trainer.world) as stopped:
        for lr, hr in batches.since(trainer.iteration) if trainer.progress < 1 else ():
            losses += trainer.step(lr, hr)
            steps += 1
            now = time.monotonic()
            trainer.spend(now - clock)
            clock = now
            over = trainer.progress >= 1
            if trainer.iteration % print_freq == 0 or over:
                terms = dict(zip(trainer.terms, trainer.world.mean(losses / steps).tolist(), strict=True))
                losses.zero_()
                steps = 0
                if not all(map(math.isfinite, terms.values())):
                    raise trainer.diverged(f"loss {sum(terms.values())}")
                if report:
                    report.loss(terms)
            if report:
                report.attend(over)
            if over:
                break
            if stopped and report:
                report.stop()
    if report:
        report.finish()


@contextmanager
def _stop_signals(world: World) -> Iterator[list[int]]:
    """A list that is no longer empty once the process was asked to stop; a second time stops it at once.

    Several processes cannot agree on an iteration without waiting for each other: they stop as they always do.
    """
    asked: list[int] = []
    if world.size > 1 or threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
