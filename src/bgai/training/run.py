"""Training: from an option file to weights, over as many stops and processes as it takes."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bgai.datasets.pairs import PairedImages, read_names
from bgai.errors import BgaiError, ImageError, listed
from bgai.evaluation.device_memory import is_out_of_memory
from bgai.evaluation.image_sets import open_pairs
from bgai.evaluation.scores import unmeasurable
from bgai.network.config import GRID
from bgai.options.training import TrainDataset, TrainOptions
from bgai.training.batches import STOP_SIGNALS, Batches, FileBatches, MemoryBatches
from bgai.training.distributed import Launcher, ProcessGroup, join
from bgai.training.monitor import Report
from bgai.training.patches import PatchPlan
from bgai.training.run_folder import Experiment, State, load_state
from bgai.training.trainer import Trainer
from bgai.types import Size

# `timeout` and a closed terminal send a signal to the process and to its group: that is one request.
ONE_REQUEST_SECONDS = 1.0


def train(
    options: TrainOptions, auto_resume: bool = False, launcher: Launcher = "none", root: Path | None = None
) -> Path:
    """Train, and leave everything in `root`/NAME. Progress is logged under the name `bgai.training`.

    Args:
        options: A parsed option file.
        auto_resume: Go on from the newest whole state there, if there is one.
        launcher: `pytorch` under torchrun.
        root: Folder of the experiments; None is the option file's, or `experiments`.

    Returns:
        The file with the averaged weights.

    Raises:
        BgaiError: Images are missing or do not match, the loss is no longer finite, the disk is full, …
    """
    root = root or options.path.experiments_root or Path("experiments")
    with join(launcher, options.num_gpu, options.dist_params.backend) as processes:
        try:
            return _train(options, auto_resume, processes, root)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise BgaiError(
                f"{processes.device}: not enough memory; set train.accumulate higher, train.precision: half or"
                " datasets.train.in_memory: false, or lower datasets.train.gt_size"
            ) from error


def _train(options: TrainOptions, auto_resume: bool, processes: ProcessGroup, root: Path) -> Path:
    trainer = Trainer(options, processes)
    data = TrainingData(options, processes)
    experiment = Experiment(root, options.name)
    state, notes = processes.share(lambda: _find_state(options, experiment, auto_resume))
    if state is not None:
        trainer.restore(state)
        notes += _changes(json.loads(state["options"]), json.loads(options.as_json()))
    if trainer.progress < 1 and (note := trainer.fit_memory()):
        notes.append(note)
    trainer.compile()
    report = None
    if processes.is_first:
        report = Report(trainer, experiment, data.validation, data.description, options.notes() + data.notes + notes)
    _loop(trainer, data.batches, report)
    return experiment.weights("latest")


class TrainingData:
    """The batches and validation sets of an option file, checked before anything is trained or written."""

    def __init__(self, options: TrainOptions, processes: ProcessGroup) -> None:
        train = options.datasets.train
        self.notes: list[str] = []
        pairs = open_pairs(train, options.scale, only=self._names(train))
        sizes = pairs.sizes()
        side = train.gt_size // options.scale
        small = [name for name, size in zip(pairs.names, sizes, strict=True) if min(size) < side]
        if small:
            raise ImageError(
                f"{train.dataroot_gt}: smaller than a patch of {side * options.scale} pixels are {listed(small)}; take"
                " them out, or set a smaller gt_size"
            )
        self.validation = {
            dataset.name: open_pairs(dataset, options.scale, degraded_by=options.manual_seed)
            for dataset in options.datasets.validation.values()
        }
        for validation in self.validation.values():
            if problems := unmeasurable(validation, options.val.metrics):
                raise ImageError(listed(problems, "; "))
        self.batches = _batches(options, processes, pairs, sizes)
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


def _batches(options: TrainOptions, processes: ProcessGroup, pairs: PairedImages, sizes: Sequence[Size]) -> Batches:
    train = options.datasets.train
    plan = PatchPlan(
        sizes,
        train.gt_size // options.scale,
        options.scale,
        train.batch_size_per_gpu,
        seed=options.manual_seed,
        rank=processes.rank,
        world_size=processes.size,
        mirror=train.use_hflip,
        rotate=train.use_rot,
        shuffle=train.use_shuffle,
        repetitions=train.dataset_enlarge_ratio,
        degradation=None if train.degradation is None else train.degradation.model(),
    )
    if train.in_memory:
        return MemoryBatches(pairs, plan, sizes, processes.device)
    return FileBatches(pairs, plan, train.num_worker_per_gpu, processes.device)


def _find_state(options: TrainOptions, experiment: Experiment, auto_resume: bool) -> tuple[State | None, list[str]]:
    """The state to go on from, and notes on newer ones; without a state, room is made for a new training."""
    notes: list[str] = []
    state = experiment.newest_state(notes.append) if auto_resume else None
    if state is None and options.path.resume_state is not None:
        state = load_state(options.path.resume_state)
    if state is None:
        experiment.begin()
    elif archive := experiment.go_back_to(state["iteration"]):
        notes.append(f"what was there of iterations after {state['iteration']:,} is set aside in {archive}")
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
    losses = torch.zeros(len(trainer.terms), dtype=torch.float64, device=trainer.processes.device)
    steps = 0
    if report:
        report.before_first_step()
    clock = time.monotonic()
    with _stop_signals(trainer.processes) as stopped:
        for lr, hr in batches.since(trainer.iteration) if trainer.progress < 1 else ():
            losses += trainer.step(lr, hr)
            steps += 1
            now = time.monotonic()
            trainer.spend(now - clock)
            clock = now
            over = trainer.progress >= 1
            if trainer.iteration % print_freq == 0 or over:
                terms = dict(zip(trainer.terms, trainer.processes.mean(losses / steps).tolist(), strict=True))
                losses.zero_()
                steps = 0
                if not all(map(math.isfinite, terms.values())):
                    raise trainer.diverged(f"loss {sum(terms.values())}")
                if report:
                    report.loss(terms)
            stopping = bool(stopped)
            if report:
                report.after_step(over, stopping)
            if over:
                break
            if stopping and report:
                report.stop()
    if report:
        report.finish()


@contextmanager
def _stop_signals(processes: ProcessGroup) -> Iterator[list[int]]:
    """A list that is no longer empty once the process was asked to stop; asked again, later, it stops at once.

    Several processes cannot agree on an iteration without waiting for each other: they stop as they always do.
    """
    asked: list[int] = []
    asked_at = 0.0
    if processes.size > 1 or threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, _: object) -> None:
        nonlocal asked_at
        if not asked:
            asked.append(number)
            asked_at = time.monotonic()
        elif time.monotonic() - asked_at > ONE_REQUEST_SECONDS:
            raise KeyboardInterrupt

    # What is ignored, as by nohup, stays so.
    numbers = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
