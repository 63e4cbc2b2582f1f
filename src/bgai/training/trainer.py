"""The network in training: first weights, steps, and the state to go on from.

Source of the recipe: the paper and its option files; bfloat16 and compilation are ours.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bgai import provenance
from bgai.errors import BgaiError, WeightsError
from bgai.network.fused_attention import fuse
from bgai.network.model import BGAI
from bgai.options.sections import OptimizerOptions, PathOptions, TeacherOptions, TrainingOptions, TrainOptions
from bgai.training.distributed import World
from bgai.training.initial_weights import start_from_interpolation, start_from_network
from bgai.training.learning_rate import learning_rate
from bgai.training.objective import Objective
from bgai.training.run_folder import State
from bgai.training.soap import Soap
from bgai.weights.checkpoint import load_network
from bgai.weights.history import Run, as_json, parse_history, read_history
from bgai.weights.sources import find_weights


class Trainer:
    """The network in training, and what a step does to it."""

    def __init__(self, options: TrainOptions, world: World) -> None:
        self.options = options
        self.world = world
        torch.manual_seed(options.manual_seed)
        self.network = initial_network(options).to(world.device)
        if _attends_fused(options.train, world.device):
            fuse(self.network)
        self.average = copy.deepcopy(self.network).eval()
        self.optimizer = _optimizer(options.train.optim_g, self.network)
        self.history = _earlier(options.path.pretrain_network_g)
        """The trainings before this one."""
        self.iteration = 0
        self.seconds = 0.0
        self.progress = 0.0
        """Part of the training that is over, 0 to 1, the same in all processes."""
        self._weights: list[Tensor] = list(self.network.parameters())
        self._averages: list[Tensor] = list(self.average.parameters())
        if options.train.compile:
            self.network.compile()
        teacher = options.train.teacher
        objective = Objective(
            self.network,
            options.train.pixel_opt.loss_weight,
            None if teacher is None else _teacher(teacher, self.network).to(world.device),
            teacher,
        )
        self.terms = objective.names
        """Of the loss, in the order in which `step` gives them."""
        self._objective = self._parallel(objective)

    def _parallel(self, objective: nn.Module) -> nn.Module:
        if self.world.size == 1:
            return objective
        # Of 1 x 1 kernels, whose strides mean nothing.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        devices = [self.world.device] if self.world.device.type == "cuda" else None
        return DistributedDataParallel(
            objective, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
        )

    def spend(self, seconds: float) -> None:
        """Count time, and agree with the other processes on how far the training is."""
        self.seconds += seconds
        self.progress = self._progress()
        if self.options.train.minutes is not None:
            self.progress = self.world.agree(self.progress)

    def _progress(self) -> float:
        train = self.options.train
        if train.minutes is not None:
            return min(self.seconds / (60 * train.minutes), 1)
        assert train.total_iter is not None
        return min(self.iteration / train.total_iter, 1)

    def step(self, lr: Tensor, hr: Tensor) -> Tensor:
        """Fit one batch, B x 3 x p x p and its B x 3 x sp x sp target, and return the loss's terms before the step."""
        train = self.options.train
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(train, self.iteration + 1, self.progress)
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=train.bfloat16):
            terms: Tensor = self._objective(lr, hr)
        self.optimizer.zero_grad()
        torch.autograd.backward(terms.sum())
        if train.grad_clip is not None:
            nn.utils.clip_grad_norm_(self._weights, train.grad_clip)
        self.optimizer.step()
        self.iteration += 1
        self._update_average()
        return terms.detach()

    @torch.no_grad()
    def _update_average(self) -> None:
        # A short memory at first: the average must not hold on to the untrained network.
        decay = min(self.options.train.ema_decay, self.iteration / (self.iteration + 10))
        torch._foreach_lerp_(self._averages, self._weights, 1 - decay)

    def state(self) -> State:
        """All that the next iterations depend on.

        Raises:
            BgaiError: The weights are no longer finite.
        """
        if not all(bool(parameter.isfinite().all()) for parameter in self._weights):
            raise self.diverged("weights that are not finite")
        return {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "options": self.options.as_json(),
            "history": as_json(self.history),
            "commit": provenance.commit(),
            "versions": provenance.versions("torch"),
        }

    def restore(self, state: State) -> None:
        """Go on from a state; rates, momenta and the like are those of the option file."""
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            settings = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({**state["optimizer"], "param_groups": settings})
            torch.set_rng_state(state["rng"])
            self.iteration, self.seconds = state["iteration"], state["seconds"]
            if "history" in state:  # the file that it started from may be another one by now
                self.history = parse_history(state["history"])
            self.progress = self._progress()
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


def _earlier(start: Path | None) -> list[Run]:
    return read_history(start) if start is not None and start.suffix == ".safetensors" else []


def _attends_fused(options: TrainingOptions, device: torch.device) -> bool:
    if options.fused is not None:
        return options.fused
    return device.type == "cuda" and not (options.teacher and options.teacher.features)


def _teacher(options: TeacherOptions, student: BGAI) -> BGAI:
    """A network that stays as it is, computed in the way of training, which is the fast one on CPUs.

    Raises:
        WeightsError: It is not of the student's shape.
    """
    weights = find_weights(options.weights, student.config.scale)
    network = load_network(weights.file)
    if network.config != student.config:
        raise WeightsError(f"train.teacher.weights {weights.name}: holds {network.config}; expected {student.config}")
    return network.train().requires_grad_(False)


def _optimizer(options: OptimizerOptions, network: BGAI) -> torch.optim.Optimizer:
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if options.type == "SOAP":
        return Soap(trained, options.lr, options.betas, weight_decay=options.weight_decay)
    kind = torch.optim.AdamW if options.type == "AdamW" else torch.optim.Adam
    return kind(trained, options.lr, options.betas, weight_decay=options.weight_decay, fused=True)
