"""What an option file for training may say, in BasicSR's layout."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from bgai.errors import BgaiError
from bgai.network.vgg import vgg_layers
from bgai.options.sections import (
    AnyPath,
    Fraction,
    Metric,
    Name,
    NetworkOptions,
    NotNegative,
    PairedDataset,
    check_factor,
    check_model_type,
    check_names,
    forward_slashes,
    model_note,
)
from bgai.options.yaml_file import Section
from bgai.types import Precision


class TrainDataset(PairedDataset):
    gt_size: PositiveInt
    """Side of the high-resolution patches in pixels."""
    batch_size_per_gpu: PositiveInt
    meta_info_file: AnyPath | None = None
    """A text file whose lines begin with the names to take, where not all of the folder is meant."""
    use_hflip: bool = True
    use_rot: bool = True
    use_shuffle: bool = True
    dataset_enlarge_ratio: PositiveInt = 1
    """Repetitions of the images in what is shuffled as a whole."""
    num_worker_per_gpu: Annotated[int, Field(ge=0, le=256)] = 4
    in_memory: bool = False
    """Keep all images as bytes in the device's memory and crop them there, instead of reading files all the time."""
    prefetch_mode: Literal["cpu", "cuda"] | None = None
    """Of BasicSR; batches are always prefetched."""
    pin_memory: bool = True
    """Of BasicSR; memory is always pinned where the device is a GPU."""


class TrainDatasets(Section):
    """`train`, and for validation any of `val`, `val_1`, `val_set14`, …"""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, PairedDataset]

    train: TrainDataset

    @model_validator(mode="after")
    def _known_phases(self) -> TrainDatasets:
        for key in self.validation:
            if key.split("_")[0] != "val":
                raise ValueError(f"unknown key {key!r}; expected 'train', and 'val' or names that begin with 'val_'")
        check_names(self.validation.values())
        if self.train.meta_info_file is not None and len(self.train.gt_folders) > 1:
            raise ValueError("train.meta_info_file: expected one folder dataroot_gt with a list of names")
        return self

    @property
    def validation(self) -> dict[str, PairedDataset]:
        return self.__pydantic_extra__


class PathOptions(Section):
    pretrain_network_g: Annotated[str, BeforeValidator(forward_slashes)] | None = None
    """Weights to start from: `bgai` or `photo` in the package, `official` for the authors', or a file."""
    strict_load_g: bool = True
    """False takes weights of another scale too: the body as it is, the last convolution resampled."""
    param_key_g: Literal["params", "params_ema"] = "params_ema"
    resume_state: AnyPath | None = None
    """The state of a training to go on from."""
    experiments_root: AnyPath | None = None
    """Folder of all trainings; None is `experiments`."""


class OptimizerOptions(Section):
    type: Literal["Adam", "AdamW", "SGD", "SOAP"] = "Adam"
    lr: PositiveFloat
    weight_decay: NotNegative = 0
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """Of Adam, AdamW and SOAP."""
    eps: PositiveFloat = 1e-8
    """Of Adam, AdamW and SOAP."""
    momentum: Fraction = 0
    """Of SGD."""
    nesterov: bool = False
    """Of SGD."""

    @model_validator(mode="after")
    def _settings_of_its_type(self) -> OptimizerOptions:
        others = ("betas", "eps") if self.type == "SGD" else ("momentum", "nesterov")
        defaults = type(self).model_fields
        if given := [name for name in others if getattr(self, name) != defaults[name].default]:
            raise ValueError(f"{given[0]}: {self.type} has no such setting")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov: expected a momentum above 0")
        return self


class MultiStepLR(Section):
    """The rate is multiplied by `gamma` after each of the milestones, which are iterations."""

    type: Literal["MultiStepLR"]
    milestones: tuple[PositiveInt, ...]
    gamma: PositiveFloat = 0.1


class CosineAnnealingLR(Section):
    """Half a cosine from the rate to `eta_min` at the end."""

    type: Literal["CosineAnnealingLR"]
    eta_min: NotNegative = 0


class CosineAnnealingRestartLR(Section):
    """Half a cosine to `eta_min` in each of the periods, which are iterations, each from its own weight of the rate."""

    type: Literal["CosineAnnealingRestartLR"]
    periods: tuple[PositiveInt, ...] = Field(min_length=1)
    restart_weights: tuple[PositiveFloat, ...] = (1,)
    eta_min: NotNegative = 0

    @model_validator(mode="after")
    def _a_weight_each(self) -> CosineAnnealingRestartLR:
        if len(self.restart_weights) != len(self.periods):
            counts = f"{len(self.restart_weights)} and {len(self.periods)}"
            raise ValueError(f"expected as many restart_weights as periods; found {counts}")
        return self


class OneCycleLR(Section):
    """Half a cosine up for `pct_start` of the training, from the rate over `div_factor`, and another down to that over
    `final_div_factor`. Source: L. N. Smith and N. Topin, Super-Convergence (2017), as PyTorch has it."""

    type: Literal["OneCycleLR"]
    pct_start: Annotated[float, Field(gt=0, lt=1)] = 0.3
    div_factor: PositiveFloat = 25
    final_div_factor: PositiveFloat = 1e4


Scheduler = Annotated[
    MultiStepLR | CosineAnnealingLR | CosineAnnealingRestartLR | OneCycleLR, Field(discriminator="type")
]


class PixelLoss(Section):
    type: Literal["L1Loss", "MSELoss", "CharbonnierLoss"] = "L1Loss"
    """The mean over all samples of the absolute difference d, of its square, or of the root of d² + `eps`."""
    loss_weight: NotNegative = 1
    """0, with a teacher, learns from that alone."""
    reduction: Literal["mean"] = "mean"
    eps: PositiveFloat = 1e-12
    """Of CharbonnierLoss."""


class FrequencyLoss(Section):
    """The mean absolute difference of the real and imaginary parts of the patches' Fourier transforms, which are not
    normalised."""

    type: Literal["FFTLoss"]
    loss_weight: PositiveFloat = 1
    reduction: Literal["mean"] = "mean"


class PerceptualLoss(Section):
    """The distance of pictures in the features of a VGG network, and of their styles: the features' Gram matrices."""

    type: Literal["PerceptualLoss"]
    layer_weights: Annotated[dict[str, PositiveFloat], Field(min_length=1)]
    """Of layers such as `conv5_4`, which is before `relu5_4`."""
    vgg_type: Literal["vgg11", "vgg13", "vgg16", "vgg19"] = "vgg19"
    use_input_norm: bool = True
    """Normalise colours as for ImageNet."""
    range_norm: bool = False
    """Take samples from [-1, 1] to [0, 1] first; ours lie in [0, 1]."""
    perceptual_weight: NotNegative = 1
    style_weight: NotNegative = 0
    criterion: Literal["l1", "l2", "fro"] = "l1"
    """The mean absolute or squared difference, or the root of the sum of squares."""
    weights: AnyPath | None = None
    """The network's weights as torchvision publishes them; None is `experiments/pretrained_models/vgg19-dcbb9e9d.pth`,
    as in BasicSR."""

    @model_validator(mode="after")
    def _known_layers(self) -> PerceptualLoss:
        layers = vgg_layers(self.vgg_type)
        if unknown := [name for name in self.layer_weights if name not in layers]:
            raise ValueError(f"layer_weights: {self.vgg_type} has no {unknown[0]!r}; expected names such as 'conv5_1'")
        if not (self.perceptual_weight or self.style_weight):
            raise ValueError("expected a 'perceptual_weight' or a 'style_weight' above 0")
        if self.weights is None and self.vgg_type != "vgg19":
            raise ValueError(f"weights: expected the file of {self.vgg_type}")
        return self


class TeacherOptions(Section):
    """A trained network to learn from: what counts how much in the loss beside `pixel_opt`."""

    weights: Annotated[str, BeforeValidator(forward_slashes)] = "official"
    """`official` for the authors', or a file; of the scale that is trained."""
    features: NotNegative = 0
    """Of the relative squared error of each part that is given the teacher's input; the mean over the parts."""
    maps: NotNegative = 0
    """Of the relative squared error of the attention maps in these parts."""
    output: NotNegative = 0
    """Of the mean absolute difference between the whole networks' enlarged pictures."""
    ensemble: bool = False
    """Compare with the mean of the teacher's pictures of all eight orientations, which takes eight times as long."""

    @model_validator(mode="after")
    def _teaches(self) -> TeacherOptions:
        if not (self.features or self.maps or self.output):
            raise ValueError("expected a weight above 0 for one of 'features', 'maps' and 'output'")
        if self.maps and not self.features:
            raise ValueError("'maps' alone leave most of the network untaught: expected a weight 'features' above 0")
        if self.ensemble and not self.output:
            raise ValueError("'ensemble' changes the enlarged pictures alone: expected a weight 'output' above 0")
        return self


def _precision(value: object) -> object:
    return {True: "half", False: "float32"}[value] if isinstance(value, bool) else value


class TrainingOptions(Section):
    optim_g: OptimizerOptions
    scheduler: Scheduler
    pixel_opt: PixelLoss = PixelLoss()
    fft_opt: FrequencyLoss | None = None
    """A term of the loss beside `pixel_opt`, of SAFMN."""
    perceptual_opt: PerceptualLoss | None = None
    """Terms of the loss beside `pixel_opt`."""
    teacher: TeacherOptions | None = None
    total_iter: PositiveInt | None = None
    minutes: PositiveFloat | None = None
    """Instead of `total_iter`: the schedule is stretched over this time, however fast the machine is."""
    warmup_iter: int = -1
    """The rate rises in equal steps from 0, and reaches its full value at this iteration."""
    ema_decay: Fraction = 0
    """Of the moving average of the weights, which is what is validated and kept; 0 is none."""
    ema_warmup: bool = True
    """After n iterations the decay is at most n / (n + 10), so that the average forgets the first weights; false is
    BasicSR's constant decay."""
    grad_clip: PositiveFloat | None = None
    """Largest norm of the gradient; None leaves it alone."""
    precision: Annotated[Precision, BeforeValidator(_precision)] = Field(
        "float32", validation_alias=AliasChoices("precision", "bfloat16", "use_amp")
    )
    """`half` computes in bfloat16 where autocasting allows; weights stay in float32. `bfloat16: true` and `use_amp:
    true` are the same."""
    accumulate: PositiveInt | None = None
    """Parts in which a batch is computed, one after the other, with the same result in less memory. None takes as many
    as the free memory asks for."""
    compile: bool = False
    """Compile the network: minutes at the start, faster steps afterwards."""
    fused: bool | None = None
    """Attend without stored maps: less memory, faster on CUDA and slower on CPUs. None does so on CUDA."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainingOptions:
        if (self.total_iter is None) == (self.minutes is None):
            raise ValueError("expected one of 'total_iter' and 'minutes'")
        if self.minutes is not None and isinstance(self.scheduler, MultiStepLR | CosineAnnealingRestartLR):
            raise ValueError("with 'minutes' expected the scheduler CosineAnnealingLR or OneCycleLR")
        if isinstance(self.scheduler, CosineAnnealingRestartLR) and sum(self.scheduler.periods) < (
            self.total_iter or 0
        ):
            raise ValueError(
                f"scheduler: the periods end after {sum(self.scheduler.periods)} iterations; expected {self.total_iter}"
            )
        others = self.teacher or self.fft_opt or self.perceptual_opt
        if others is None and self.pixel_opt.loss_weight == 0:
            raise ValueError("pixel_opt.loss_weight: expected more than 0 without another term")
        if self.takes_whole_batches and self.accumulate not in (None, 1):
            raise ValueError("accumulate: expected 1 with perceptual_opt.criterion 'fro', no mean over the batch")
        if self.fused and self.teacher and self.teacher.maps:
            raise ValueError(
                "fused: attentions without stored maps have none to compare; leave it out, or teacher.maps"
            )
        return self

    @property
    def takes_whole_batches(self) -> bool:
        """Whether the loss of a batch is no mean of that of its parts."""
        return self.perceptual_opt is not None and self.perceptual_opt.criterion == "fro"


class ValidationOptions(Section):
    val_freq: PositiveInt = 5000
    val_at_start: bool = True
    """Validate before the first step too: a score to compare with, and faults of validation are met at once."""
    save_img: bool = False
    suffix: Name | None = None
    """Ends the names of the pictures; None takes the iteration."""
    pbar: bool = True
    """Of BasicSR; changes nothing."""
    use_chop: bool = False
    """Of CAT and DAT; images that do not fit into memory are always enlarged in tiles."""
    metrics: dict[str, Metric] = Field(default_factory=dict)
    """By the names that logs have."""
    best_metric: str | None = None
    """The metric whose mean over the validation sets chooses `net_g_best`; None takes the first. Its `better` says
    whether higher or lower values are better."""

    @model_validator(mode="after")
    def _has_the_metric(self) -> ValidationOptions:
        if self.best_metric is not None and self.best_metric not in self.metrics:
            names = ", ".join(self.metrics) or "the names below 'metrics', of which there are none"
            raise ValueError(f"best_metric {self.best_metric!r}: expected one of {names}")
        return self


class WandbOptions(Section):
    """Weights & Biases, with the extra `wandb`; without it a note says that nothing is sent."""

    project: str | None = None
    """To which records and validation pictures are sent; None sends nothing."""
    resume_id: str | None = None
    """Of the run to continue; None is the training's own."""


class LoggerOptions(Section):
    print_freq: PositiveInt = 100
    save_checkpoint_freq: PositiveInt = 5000
    save_checkpoint_minutes: PositiveFloat | None = None
    """Save by the clock as well."""
    use_tb_logger: bool = False
    wandb: WandbOptions = WandbOptions()


class DistributedOptions(Section):
    backend: Literal["nccl", "gloo"] | None = None
    """None takes nccl on GPUs and gloo on CPUs; nccl without a GPU does too."""
    port: PositiveInt | None = None
    """Of BasicSR; torchrun chooses it."""


class TrainOptions(Section):
    """A whole option file for training."""

    name: Name
    model_type: Annotated[
        str, AfterValidator(lambda value: check_model_type(value, ("GAN", "Real", "Video", "EDVR", "Tile")))
    ] = "SRModel"
    """Classes of other networks are taken as SRModel."""
    scale: Literal[2, 3, 4]
    num_gpu: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    """0 trains on the CPU; several GPUs need torchrun."""
    manual_seed: Annotated[int, Field(ge=0)] = 0
    datasets: TrainDatasets
    network_g: NetworkOptions = NetworkOptions()
    path: PathOptions = PathOptions()
    train: TrainingOptions
    val: ValidationOptions = ValidationOptions()
    logger: LoggerOptions = LoggerOptions()
    dist_params: DistributedOptions = DistributedOptions()
    use_amp: bool = False
    """The same as `train.precision: half`."""
    print_network: bool = False
    """Of SRFormer; changes nothing: `bgai info` shows networks."""

    @model_validator(mode="before")
    @classmethod
    def _amp_is_half(cls, values: object) -> object:
        train = values.get("train") if isinstance(values, dict) else None
        if isinstance(values, dict) and isinstance(train, dict) and values.get("use_amp") is True:
            return {**values, "train": {"precision": "half", **train}}
        return values

    @model_validator(mode="after")
    def _agree(self) -> TrainOptions:
        check_factor(self.network_g, self.scale)
        if self.datasets.train.gt_size < self.scale:
            raise ValueError(f"datasets.train.gt_size {self.datasets.train.gt_size} is less than one pixel before")
        try:
            self.network_g.config(self.scale)
        except BgaiError as error:
            raise ValueError(f"network_g: {error}") from error
        return self

    def for_trial(self) -> TrainOptions:
        """What BasicSR makes of a file with `--debug`: another name, and something to see after a few iterations."""
        val = self.val.model_copy(update={"val_freq": 8})
        logger = self.logger.model_copy(update={"print_freq": 1, "save_checkpoint_freq": 8})
        return self.model_copy(update={"name": f"debug_{self.name}", "val": val, "logger": logger})

    def notes(self) -> list[str]:
        """What the user should know about how the file is understood."""
        return model_note(self.model_type)

    def rules(self) -> str:
        """What other programs have otherwise, in one line."""
        train, given = self.train, "manual_seed" in self.model_fields_set
        rules = [f"manual_seed {self.manual_seed}{'' if given else ', as none was given'}"]
        if train.ema_decay:
            rises = (
                f"at most n / (n + 10) after n iterations, {train.ema_decay} later" if train.ema_warmup else "constant"
            )
            rules.append(f"ema_decay {train.ema_decay}, {rises}")
        if train.warmup_iter > 0:
            rules.append(f"the full rate is reached at iteration {train.warmup_iter}")
        return "; ".join([*rules, "no last batch of an epoch is dropped"])

    def as_json(self) -> str:
        """All settings."""
        return json.dumps(self.model_dump(mode="json", exclude_none=True))

    def without_places(self) -> str:
        """All settings but where things lie, which is nothing that weights should carry to other machines."""
        return json.dumps(_without_places(self.model_dump(mode="json", exclude_none=True)))


def _without_places(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {key: _without_places(value) for key, value in values.items() if key not in _PLACES}


_PLACES = (
    "dataroot_gt",
    "dataroot_lq",
    "experiments_root",
    "meta_info_file",
    "pretrain_network_g",
    "resume_state",
    "weights",
)
