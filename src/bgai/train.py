"""Training: from an option file to weights, over as many stops and processes as it takes.

Source of the recipe: the paper and its option files; `minutes`, bfloat16, compilation and images in memory are ours.
"""

from __future__ import annotations

import copy
import json
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bgai import provenance
from bgai.checkpoint import load_network, save_network
from bgai.data import Batches, FileBatches, Image, MemoryBatches, PairedImages, PatchPlan, read_names
from bgai.distributed import Launcher, World, join
from bgai.errors import BgaiError, WeightsError
from bgai.evaluate import validate
from bgai.experiment import Experiment, State, load_state
from bgai.files import whole_or_nothing
from bgai.initial import start_from_interpolation, start_from_network
from bgai.journal import Journal, draw_curves, read_records
from bgai.model import BGAI
from bgai.options import OptimizerOptions, PathOptions, TrainDataset, TrainOptions
from bgai.schedule import learning_rate
from bgai.tiling import GRID

PICTURES_KEPT = 5


class Trainer:
    """The network in training, and what a step does to it."""

    def __init__(self, options: TrainOptions, world: World) -> None:
        self.options = options
        self.world = world
        torch.manual_seed(options.manual_seed)
        self.network = initial_network(options).to(world.device)
        self.average = copy.deepcopy(self.network).eval()
        self.optimizer = _optimizer(options.train.optim_g, self.network, world.device)
        self.iteration = 0
        self.seconds = 0.0
        self._forward = self._parallel(torch.compile(self.network) if options.train.compile else self.network)

    def _parallel(self, network: Any) -> Any:
        if self.world.size == 1:
            return network
        devices = [self.world.device] if self.world.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices)

    @property
    def progress(self) -> float:
        """Part of the training that is over, 0 to 1, the same in all processes."""
        train = self.options.train
        if train.minutes is not None:
            return self.world.agree(min(self.seconds / (60 * train.minutes), 1))
        assert train.total_iter is not None
        return min(self.iteration / train.total_iter, 1)

    def step(self, lr: Tensor, hr: Tensor) -> Tensor:
        """Fit one batch, B x 3 x p x p and its B x 3 x sp x sp target, and return the loss before the step."""
        train = self.options.train
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(train, self.iteration + 1, self.progress)
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=train.bfloat16):
            sr = self._forward(lr)
        loss = F.l1_loss(sr.float(), hr) * train.pixel_opt.loss_weight
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        if train.grad_clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), train.grad_clip)
        self.optimizer.step()
        self.iteration += 1
        self._update_average()
        return loss.detach()

    @torch.no_grad()
    def _update_average(self) -> None:
        # A short memory at first: the average must not hold on to the untrained network.
        decay = min(self.options.train.ema_decay, self.iteration / (self.iteration + 10))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)

    def state(self) -> State:
        """All that the next iterations depend on.

        Raises:
            BgaiError: The weights are no longer finite.
        """
        if not all(bool(parameter.isfinite().all()) for parameter in self.network.parameters()):
            raise self.diverged("weights that are not finite")
        return {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "options": self.options.as_json(),
            "commit": provenance.commit(),
            "versions": provenance.versions("torch"),
        }

    def restore(self, state: State) -> None:
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["rng"])
            self.iteration, self.seconds = state["iteration"], state["seconds"]
        except (KeyError, ValueError, RuntimeError, TypeError):
            raise WeightsError(
                "the training state is of another network or optimizer; give the training another name"
            ) from None

    def diverged(self, what: str) -> BgaiError:
        return BgaiError(
            f"{what} at iteration {self.iteration}: lower train.optim_g.lr or set train.grad_clip, and go on with"
            " --auto_resume; the last good state is kept"
        )


def initial_network(options: TrainOptions) -> BGAI:
    """The network that a training starts from: given weights, or else one that interpolates."""
    network = BGAI(options.network_g.config(options.scale))
    if options.path.pretrain_network_g is None:
        start_from_interpolation(network)
        return network
    _start_from_file(network, options.path.pretrain_network_g, options.path)
    return network


def _start_from_file(network: BGAI, path: Path, options: PathOptions) -> None:
    other = load_network(path, options.param_key_g)
    if other.config != network.config and options.strict_load_g:
        raise WeightsError(
            f"{path}: holds {other.config}; expected {network.config}. Set path.strict_load_g to false to start from"
            " another scale"
        )
    try:
        start_from_network(network, other)
    except RuntimeError:
        raise WeightsError(f"{path}: holds {other.config}, of another shape than {network.config}") from None


def _optimizer(options: OptimizerOptions, network: BGAI, device: torch.device) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if options.type == "AdamW" else torch.optim.Adam
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return kind(trained, options.lr, options.betas, weight_decay=options.weight_decay, fused=True)


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
        _resume(trainer, experiment, auto_resume)
        report = Report(trainer, experiment, data) if world.is_first else None
        _loop(trainer, data.batches, report)
        return experiment.weights("latest")


class TrainingData:
    """The batches and validation sets of an option file, looked through before anything is trained or written."""

    def __init__(self, options: TrainOptions, world: World) -> None:
        train = options.datasets.train
        self.notes: list[str] = []
        pairs = PairedImages(train, options.scale, self._names(train))
        sizes = pairs.sizes()
        plan = PatchPlan(train, options.scale, sizes, options.manual_seed, world.rank, world.size)
        self.batches: Batches
        if train.in_memory:
            self.batches = MemoryBatches(pairs, plan, sizes, world.device)
        else:
            self.batches = FileBatches(pairs, plan, train.num_worker_per_gpu, world.device)
        self.validation = {
            dataset.name: PairedImages(dataset, options.scale) for dataset in options.datasets.validation.values()
        }
        for validation in self.validation.values():
            validation.sizes()
        megapixels = sum(height * width for height, width in sizes) * options.scale**2 / 1e6
        self.description = f"{len(pairs)} images, {megapixels:.0f} megapixels"
        if train.gt_size % (options.scale * GRID):
            self.notes.append(
                f"gt_size {train.gt_size}: patches of {plan.side} x {plan.side} pixels at low resolution are padded to"
                f" multiples of {GRID}; {options.scale * GRID * max(round(plan.side / GRID), 1)} wastes nothing"
            )

    def _names(self, options: TrainDataset) -> set[str] | None:
        path = options.meta_info_file
        if path is None:
            return None
        if not path.is_file():
            self.notes.append(f"meta_info_file {path}: not there; all images of {options.dataroot_gt} are taken")
            return None
        return read_names(path)


def _resume(trainer: Trainer, experiment: Experiment, auto_resume: bool) -> None:
    """Restore a state, in every process the same, or clear the way for a new training."""
    state = None
    if trainer.options.path.resume_state is not None:
        state = load_state(trainer.options.path.resume_state)
    elif auto_resume:
        state = experiment.newest_state(print if trainer.world.is_first else lambda _: None)
    if state is not None:
        trainer.restore(state)
    elif trainer.world.is_first:
        experiment.begin()


def _loop(trainer: Trainer, batches: Batches, report: Report | None) -> None:
    """Step until the training is over; the first process reports, validates and saves."""
    print_freq = trainer.options.logger.print_freq
    losses = torch.zeros((), dtype=torch.float64, device=trainer.world.device)
    steps = 0
    clock = time.monotonic()
    with _stop_signals(trainer.world) as stopped:
        for lr, hr in batches.since(trainer.iteration) if trainer.progress < 1 else ():
            losses += trainer.step(lr, hr)
            steps += 1
            now = time.monotonic()
            trainer.seconds, clock = trainer.seconds + now - clock, now
            over = trainer.progress >= 1
            if trainer.iteration % print_freq == 0 or over:
                loss = float(trainer.world.mean(losses / steps))
                losses.zero_()
                steps = 0
                if not math.isfinite(loss):
                    raise trainer.diverged(f"loss {loss}")
                if report:
                    report.loss(loss)
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


class Report:
    """What the first process does besides training: it tells, validates and saves."""

    def __init__(self, trainer: Trainer, experiment: Experiment, data: TrainingData) -> None:
        self.trainer, self.experiment, self.data = trainer, experiment, data
        self.options = trainer.options
        self.journal = Journal(experiment.folder, trainer.iteration, self.options.logger.use_tb_logger)
        self.scores: dict[str, dict[str, float]] = {}
        self._told = (trainer.iteration, trainer.seconds)
        self._saved = trainer.seconds
        with whole_or_nothing(experiment.folder / "options.json") as partial:
            partial.write_text(self.options.model_dump_json(indent=2))
        parameters = sum(parameter.numel() for parameter in trainer.network.parameters())
        self.journal.line(f"{self.options.name}: ×{self.options.scale}, {parameters:,} parameters, {data.description}")
        self.journal.line(f"{provenance.machine()}; {provenance.versions('torch')}; commit {provenance.commit()}")
        for note in data.notes:
            self.journal.line(f"note: {note}")
        if trainer.iteration:
            self.journal.line(f"going on after iteration {trainer.iteration:,}")

    def loss(self, loss: float) -> None:
        """Tell how the training goes."""
        trainer, train = self.trainer, self.options.train
        iterations, seconds = trainer.iteration - self._told[0], max(trainer.seconds - self._told[1], 1e-9)
        self._told = (trainer.iteration, trainer.seconds)
        speed = iterations * self.options.datasets.train.batch_size_per_gpu * trainer.world.size / seconds
        rate = trainer.optimizer.param_groups[0]["lr"]
        if train.minutes is not None:
            total, left = "", 60 * train.minutes - trainer.seconds
        else:
            assert train.total_iter is not None
            total, left = f" of {train.total_iter:,}", (train.total_iter - trainer.iteration) * seconds / iterations
        self.journal.line(
            f"iteration {trainer.iteration:,}{total}  loss {loss:.5f}  lr {rate:.2e}  {speed:.1f} images/s"
            f"  {timedelta(seconds=max(round(left), 0))} left"
        )
        self.journal.record(trainer.iteration, loss=loss, lr=rate, images_per_second=round(speed, 2))

    def attend(self, over: bool) -> None:
        """Validate and save when that is due."""
        iteration, logger = self.trainer.iteration, self.options.logger
        if iteration % self.options.val.val_freq == 0 or over:
            self.validate(over)
        minutes = logger.save_checkpoint_minutes
        late = minutes is not None and self.trainer.seconds - self._saved > 60 * minutes
        if iteration % logger.save_checkpoint_freq == 0 or late or over:
            self.save()

    def validate(self, over: bool) -> None:
        """Measure the averaged weights on the validation sets; keep pictures if asked to, and some at the end."""
        options, iteration = self.options.val, self.trainer.iteration
        for dataset, pairs in self.data.validation.items():
            kept = pairs.names if options.save_img else pairs.names[: PICTURES_KEPT if over else 0]

            def show(name: str, *images: Image, dataset: str = dataset, kept: Sequence[str] = kept) -> None:
                if name in kept:
                    self.experiment.save_triptych(dataset, f"{name}_{options.suffix or iteration}", *images)

            self.scores[dataset] = validate(self.trainer.average, pairs, options.metrics, show)
            values = "  ".join(f"{name} {value:.4f}" for name, value in self.scores[dataset].items())
            self.journal.line(f"iteration {iteration:,}  {dataset}  {values}")
        if self.scores:
            self.journal.record(iteration, validation=self.scores)

    def save(self) -> None:
        """Write the weights and then the state: beside a state its weights are always there."""
        state = self.trainer.state()
        self._save_weights(self.trainer.iteration)
        self.experiment.save_state(self.trainer.iteration, state)
        self._saved = self.trainer.seconds

    def stop(self) -> None:
        """Save, and end a training that was asked to stop."""
        self.save()
        self._close(f"stopped after iteration {self.trainer.iteration:,}; --auto_resume goes on from there")
        raise KeyboardInterrupt

    def finish(self) -> None:
        path = self._save_weights("latest")
        self._close(f"{path}: the weights after {self.trainer.iteration:,} iterations")

    def _close(self, last_line: str) -> None:
        draw_curves(read_records(self.journal.records), self.experiment.folder / "curves.png", self.options.name)
        self.journal.line(last_line)
        self.journal.close()

    def _save_weights(self, iteration: int | str) -> Path:
        path = self.experiment.weights(iteration)
        save_network(self.trainer.average, path, self._description())
        return path

    def _description(self) -> dict[str, str]:
        """What the weights say of their own making."""
        return {
            "commit": provenance.commit(),
            "data": self.data.description,
            "iterations": str(self.trainer.iteration),
            "machine": provenance.machine(),
            "minutes": f"{self.trainer.seconds / 60:.1f}",
            "options": self.options.as_json(),
            "validation": json.dumps(self.scores),
            "versions": provenance.versions("torch"),
        }
