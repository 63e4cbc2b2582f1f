"""The network in training: first weights, steps, and the state to go on from.

Source of the recipe: the paper and its option files; low precision, compilation and batches in parts are ours.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bgai import provenance
from bgai.errors import BgaiError, WeightsError
from bgai.evaluation.device_memory import free_bytes
from bgai.network.fused_attention import fuse
from bgai.network.model import BGAI
from bgai.options.training import OptimizerOptions, PixelLoss, TeacherOptions, TrainingOptions, TrainOptions
from bgai.training.distributed import ProcessGroup
from bgai.training.initial_weights import start_from_interpolation, start_from_network
from bgai.training.learning_rate import learning_rate
from bgai.training.memory import needed_gib, parts_that_fit, saved_bytes
from bgai.training.objective import Distance, Objective, charbonnier
from bgai.training.perceptual import PerceptualDistance
from bgai.training.run_folder import State
from bgai.training.soap import Soap
from bgai.weights.checkpoint import load_network
from bgai.weights.history import Run, as_json, parse_history, read_history
from bgai.weights.sources import Weights, find_weights


class Trainer:
    """The network in training, and what a step does to it."""

    def __init__(self, options: TrainOptions, processes: ProcessGroup) -> None:
        self.options = options
        self.processes = processes
        torch.manual_seed(options.manual_seed)
        start = options.path.pretrain_network_g
        weights = None if start is None else find_weights(start, options.scale)
        self.start = None if weights is None else weights.name
        """Name of the weights that the training started from."""
        self.network = _initial_network(options, weights).to(processes.device)
        if _attends_fused(options.train, processes.device):
            fuse(self.network)
        self.average = copy.deepcopy(self.network).eval()
        self.optimizer = _optimizer(options.train.optim_g, self.network)
        self.history = _history(weights)
        """The trainings before this one."""
        self.iteration = 0
        self.seconds = 0.0
        self.progress = 0.0
        """Part of the training that is over, 0 to 1, the same in all processes."""
        self._weights: list[Tensor] = list(self.network.parameters())
        self._averages: list[Tensor] = list(self.average.parameters())
        self._objective = self._make_objective()
        self.terms = self._objective.names
        """Names of the loss's terms, in the order in which `step` gives them."""
        self.parts = options.train.accumulate or 1
        """In how many parts a batch is computed, one after the other."""
        self._loss = self._parallel(self._objective)
        self._compiles = options.train.compile

    def _make_objective(self) -> Objective:
        train, device = self.options.train, self.processes.device
        teacher = train.teacher
        return Objective(
            self.network,
            _teacher(teacher, self.network).to(device) if teacher else None,
            pixels=train.pixel_opt.loss_weight,
            distance=_distance(train.pixel_opt),
            frequencies=train.fft_opt.loss_weight if train.fft_opt else 0,
            perceptual=PerceptualDistance(train.perceptual_opt).to(device) if train.perceptual_opt else None,
            features=teacher.features if teacher else 0,
            maps=teacher.maps if teacher else 0,
            output=teacher.output if teacher else 0,
            ensemble=teacher is not None and teacher.ensemble,
        )

    def fit_memory(self) -> str | None:
        """Take the batch in as many parts as the free memory asks for, unless the options say in how many.

        Returns:
            A note for the user, where the batch does not fit as a whole.

        Raises:
            BgaiError: Not even one patch fits.
        """
        train, data = self.options.train, self.options.datasets.train
        if train.accumulate is not None or train.takes_whole_batches:
            return None
        B, free = data.batch_size_per_gpu, free_bytes(self.processes.device)
        patch_bytes = saved_bytes(self._forward_of_one_patch, self._objective.held_tensors())
        fitting = parts_that_fit(B, patch_bytes, free)
        self.parts = max(self.parts, fitting)
        if fitting == 1:
            return None
        return (
            f"a batch of {B} takes about {needed_gib(B, patch_bytes):.1f} GiB, of which {free / 2**30:.1f} are free: it"
            f" is computed in {self.parts} parts, with the same result"
        )

    def _forward_of_one_patch(self) -> Tensor:
        scale, device = self.options.scale, self.processes.device
        side = self.options.datasets.train.gt_size // scale
        lr, hr = (torch.zeros(1, 3, length, length, device=device) for length in (side, side * scale))
        with self._autocast():
            terms: Tensor = self._objective(lr.contiguous(memory_format=torch.channels_last), hr)
        return terms

    def compile(self) -> None:
        """Compile the network, if the options say so: the first step takes minutes then."""
        if self._compiles:
            self.network.compile()

    def _autocast(self) -> torch.autocast:
        half = self.options.train.precision == "half"
        return torch.autocast(self.processes.device.type, torch.bfloat16, enabled=half)

    def _parallel(self, objective: nn.Module) -> nn.Module:
        if self.processes.size == 1:
            return objective
        # 1 x 1 kernels have strides that mean nothing.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        devices = [self.processes.device] if self.processes.device.type == "cuda" else None
        # Buffers are constants. PyTorch is about to rename the argument that says so.
        renamed = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
        constants: dict[str, Any] = {"forward_sync_buffers" if renamed else "broadcast_buffers": False}
        return DistributedDataParallel(objective, device_ids=devices, gradient_as_bucket_view=True, **constants)

    def spend(self, seconds: float) -> None:
        """Count time, and agree with the other processes on how far the training is."""
        self.seconds += seconds
        self.progress = self._progress()
        if self.options.train.minutes is not None:
            self.progress = self.processes.agree(self.progress)

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
            group["lr"] = learning_rate(
                train.scheduler, train.optim_g.lr, self.iteration + 1, self.progress, train.warmup_iter
            )
        self.optimizer.zero_grad()
        terms = self._accumulate(lr, hr)
        if train.grad_clip is not None:
            nn.utils.clip_grad_norm_(self._weights, train.grad_clip)
        self.optimizer.step()
        self.iteration += 1
        self._update_average()
        return terms

    def _accumulate(self, lr: Tensor, hr: Tensor) -> Tensor:
        """Add the gradients of a batch, of one part after the other, and return the terms of its loss."""
        lr_parts, hr_parts = lr.chunk(self.parts), hr.chunk(self.parts)
        variances = None
        if len(lr_parts) > 1:
            with self._autocast():
                variances = self._objective.variances(lr_parts)
        total = torch.zeros(len(self.terms), device=self.processes.device)
        for number, part in enumerate(zip(lr_parts, hr_parts, strict=True), 1):
            with self._synchronised(number == len(lr_parts)):
                with self._autocast():
                    terms: Tensor = self._loss(*part, variances)
                terms = terms * (len(part[0]) / len(lr))
                torch.autograd.backward(terms.sum())
            total += terms.detach()
        return total

    def _synchronised(self, last: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged between processes with the last part alone."""
        if last or not isinstance(self._loss, DistributedDataParallel):
            return nullcontext()
        return self._loss.no_sync()

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = self.options.train.ema_decay
        if self.options.train.ema_warmup:  # a short memory at first: the average forgets the untrained network
            decay = min(decay, self.iteration / (self.iteration + 10))
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
            "parts": self.parts,
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
            if self.options.train.accumulate is None:  # sums in other parts would be rounded in another way
                self.parts = state.get("parts", 1)
            if "history" in state:  # the file that it started from may be another one by now
                self.history = parse_history(state["history"])
            self.progress = self._progress()
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise WeightsError(
                "the training state is of another network or optimizer; give the training another name"
            ) from error

    def diverged(self, what: str) -> BgaiError:
        return BgaiError(
            f"{what} at iteration {self.iteration}: lower train.optim_g.lr or set train.grad_clip, and go on with"
            " --auto_resume; the last good state is kept"
        )


def _initial_network(options: TrainOptions, weights: Weights | None) -> BGAI:
    """The network that a training starts from: given weights, or else one that interpolates."""
    network = BGAI(options.network_g.config(options.scale))
    if weights is None:
        start_from_interpolation(network)
        return network
    if weights.is_graph:
        raise WeightsError(f"{weights.file}: a graph cannot be trained; expected a .safetensors or .pth file")
    other = load_network(weights.file, options.path.param_key_g)
    if other.config != network.config and options.path.strict_load_g:
        raise WeightsError(
            f"{weights.file}: holds {other.config}; expected {network.config}. Set path.strict_load_g to false to"
            " start from another scale"
        )
    try:
        start_from_network(network, other)
    except RuntimeError as error:
        raise WeightsError(f"{weights.file}: holds {other.config}, of another shape than {network.config}") from error
    return network


def _history(start: Weights | None) -> list[Run]:
    return read_history(start.file) if start is not None and start.file.suffix == ".safetensors" else []


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


def _distance(options: PixelLoss) -> Distance:
    match options.type:
        case "L1Loss":
            return F.l1_loss
        case "MSELoss":
            return F.mse_loss
        case "CharbonnierLoss":
            return partial(charbonnier, eps=options.eps)


def _optimizer(options: OptimizerOptions, network: BGAI) -> torch.optim.Optimizer:
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if options.type == "SOAP":
        return Soap(trained, options.lr, options.betas, options.eps, weight_decay=options.weight_decay)
    if options.type == "SGD":
        return torch.optim.SGD(
            trained, options.lr, options.momentum, weight_decay=options.weight_decay, nesterov=options.nesterov
        )
    kind = torch.optim.AdamW if options.type == "AdamW" else torch.optim.Adam
    return kind(trained, options.lr, options.betas, options.eps, weight_decay=options.weight_decay, fused=True)
