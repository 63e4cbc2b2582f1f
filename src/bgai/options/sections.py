"""What option files for training and testing may say, in BasicSR's layout.

Keys that BasicSR has and that change nothing here are accepted where its files carry them, and say so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from bgai.errors import BgaiError
from bgai.network.config import NetworkConfig
from bgai.options.yaml_file import Section


def _forward_slashes(value: object) -> object:
    return value.replace("\\", "/") if isinstance(value, str) else value


def _file_name(value: str) -> str:
    if value in ("", ".", "..") or "/" in value or "\\" in value:
        raise ValueError("expected a name that a folder can have, without slashes")
    return value


AnyPath = Annotated[Path, BeforeValidator(_forward_slashes)]
Name = Annotated[str, AfterValidator(_file_name)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


def _pair(value: object) -> object:
    """A number is a range of one; what is no range is told in the file's words."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value, value
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"expected a number or [lowest, highest]; found {value!r}")
    return value


T = TypeVar("T", int, float)


def _ascending(value: tuple[T, T]) -> tuple[T, T]:
    if value[0] > value[1]:
        raise ValueError(f"expected the lowest first; found {list(value)}")
    return value


_BlurSigma = Annotated[float, Field(ge=0.1, le=10)]
_NoiseSigma = Annotated[float, Field(ge=0.1, le=100)]
_Quality = Annotated[int, Field(ge=1, le=100)]
BlurSigmas = Annotated[tuple[_BlurSigma, _BlurSigma], BeforeValidator(_pair), AfterValidator(_ascending)]
NoiseSigmas = Annotated[tuple[_NoiseSigma, _NoiseSigma], BeforeValidator(_pair), AfterValidator(_ascending)]
Qualities = Annotated[tuple[_Quality, _Quality], BeforeValidator(_pair), AfterValidator(_ascending)]


def _subsampling(value: object) -> object:
    """YAML reads 4:2:0 without quotes as a number of base 60."""
    return f"{value // 3600}:{value // 60 % 60}:{value % 60}" if isinstance(value, int) and value >= 3600 else value


class IoBackend(Section):
    type: Literal["disk", "lmdb"] = "disk"


class BlurOptions(Section):
    """A Gaussian: round half of the time, else of two sigmas and turned by any angle."""

    probability: Probability = 1
    sigma: BlurSigmas
    """In low-resolution pixels."""


class NoiseOptions(Section):
    probability: Probability = 1
    sigma: NoiseSigmas
    """In levels of 255; Poisson noise's at mid-grey."""
    grey: Probability = 0
    """Share of noise that is the same in the three colours."""
    poisson: Probability = 0
    """Share of noise that grows with brightness; the rest is Gaussian."""


class JpegOptions(Section):
    probability: Probability = 1
    quality: Qualities
    """As libjpeg counts it, 1 to 100."""
    subsampling: Annotated[Literal["4:2:0", "4:4:4", "either"], BeforeValidator(_subsampling)] = "4:2:0"
    """Of the colours; `either` is each half of the time."""
    twice: Probability = 0
    """Share of those images that are encoded a second time, with a quality and a place of the blocks of its own."""


class WebpOptions(Section):
    probability: Probability = 1
    """Of WebP instead of JPEG."""
    quality: Qualities


class DegradationOptions(Section):
    """What is done to low-resolution images, in this order. Sigmas and qualities are numbers, or ranges to draw from.

    Of a set to train on, patches are degraded anew each time, with blocks beginning anywhere; of a set to measure on,
    whole images, each always in the same way.
    """

    clean: Probability = 0
    """Share of images that nothing is done to."""
    blur: BlurOptions | None = None
    noise: NoiseOptions | None = None
    webp: WebpOptions | None = None
    jpeg: JpegOptions | None = None

    @model_validator(mode="after")
    def _does_something(self) -> DegradationOptions:
        if not (self.blur or self.noise or self.webp or self.jpeg):
            raise ValueError("expected one at least of 'blur', 'noise', 'webp' and 'jpeg'")
        return self


class PairedDataset(Section):
    """Folders, searched to any depth, or LMDBs of high-resolution images and their low-resolution versions."""

    name: Name
    type: Literal["PairedImageDataset"] = "PairedImageDataset"
    dataroot_gt: AnyPath
    dataroot_lq: AnyPath | None = None
    """None makes the low-resolution images by MATLAB's bicubic as they are read."""
    filename_tmpl: str = "{}"
    """Name of the low-resolution image of a high-resolution one, both without suffix, such as `{}x4`."""
    io_backend: IoBackend = IoBackend()
    degradation: DegradationOptions | None = None
    """None leaves the low-resolution images as they are."""

    @field_validator("filename_tmpl")
    @classmethod
    def _has_a_place(cls, value: str) -> str:
        if value.count("{}") != 1:
            raise ValueError("expected one {} in the place of the name")
        return value


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
    num_worker_per_gpu: Annotated[int, Field(ge=0)] = 4
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
        _check_names(self.validation.values())
        return self

    @property
    def validation(self) -> dict[str, PairedDataset]:
        return self.__pydantic_extra__


def _check_names(datasets: Iterable[PairedDataset]) -> None:
    names = [dataset.name for dataset in datasets]
    if len(set(names)) < len(names):
        raise ValueError(f"expected sets of different names; found {', '.join(names)}")


class TestDatasets(Section):
    """Sets to measure on: `test_1`, `test_set5`, …, in the order of the file."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, PairedDataset]

    @model_validator(mode="after")
    def _known_phases(self) -> TestDatasets:
        for key in self.__pydantic_extra__:
            if key.split("_")[0] not in ("test", "val"):
                raise ValueError(f"unknown key {key!r}; expected names that begin with 'test_'")
        if not self.__pydantic_extra__:
            raise ValueError("expected one set at least, such as 'test_1'")
        _check_names(self.__pydantic_extra__.values())
        return self

    def all(self) -> list[PairedDataset]:
        return list(self.__pydantic_extra__.values())


class NetworkOptions(Section):
    """The network's shape: the paper's unless said otherwise."""

    type: Literal["BGAI"] = "BGAI"
    upscale_factor: PositiveInt | None = None
    """That of the file's `scale`."""
    channels: PositiveInt | None = None
    broadcast_channels: PositiveInt | None = None
    local_channels: PositiveInt | None = None
    groups: PositiveInt | None = None
    blocks: PositiveInt | None = None
    window: PositiveInt | None = None
    mlp_ratio: PositiveInt | None = None

    def config(self, scale: int) -> NetworkConfig:
        return NetworkConfig(scale, **self.model_dump(exclude={"type", "upscale_factor"}, exclude_none=True))


class PathOptions(Section):
    pretrain_network_g: AnyPath | None = None
    """Weights to start from: a `.safetensors` of ours or a `.pth` of the original project."""
    strict_load_g: bool = True
    """False takes weights of another scale too: the body as it is, the last convolution resampled."""
    param_key_g: Literal["params", "params_ema"] = "params_ema"
    resume_state: AnyPath | None = None


class OptimizerOptions(Section):
    type: Literal["Adam", "AdamW", "SOAP"] = "Adam"
    lr: PositiveFloat
    weight_decay: NotNegative = 0
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)


class MultiStepLR(Section):
    """The rate is multiplied by `gamma` after each of the milestones, which are iterations."""

    type: Literal["MultiStepLR"]
    milestones: tuple[PositiveInt, ...]
    gamma: PositiveFloat = 0.1


class CosineAnnealingLR(Section):
    """Half a cosine from the rate to `eta_min` at the end."""

    type: Literal["CosineAnnealingLR"]
    eta_min: NotNegative = 0


class OneCycleLR(Section):
    """Half a cosine up for `pct_start` of the training, from the rate over `div_factor`, and another down to that over
    `final_div_factor`. Source: L. N. Smith and N. Topin, Super-Convergence (2017), as PyTorch has it."""

    type: Literal["OneCycleLR"]
    pct_start: Annotated[float, Field(gt=0, lt=1)] = 0.3
    div_factor: PositiveFloat = 25
    final_div_factor: PositiveFloat = 1e4


Scheduler = Annotated[MultiStepLR | CosineAnnealingLR | OneCycleLR, Field(discriminator="type")]


class PixelLoss(Section):
    type: Literal["L1Loss"] = "L1Loss"
    loss_weight: NotNegative = 1
    """0, with a teacher, learns from that alone."""
    reduction: Literal["mean"] = "mean"


class TeacherOptions(Section):
    """A trained network to learn from: what counts how much in the loss beside `pixel_opt`."""

    weights: Annotated[str, BeforeValidator(_forward_slashes)] = "official"
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


class TrainingOptions(Section):
    optim_g: OptimizerOptions
    scheduler: Scheduler
    pixel_opt: PixelLoss = PixelLoss()
    teacher: TeacherOptions | None = None
    total_iter: PositiveInt | None = None
    minutes: PositiveFloat | None = None
    """Instead of `total_iter`: the schedule is stretched over this time, however fast the machine is."""
    warmup_iter: int = -1
    ema_decay: Fraction = 0
    """Of the moving average of the weights, which is what is validated and kept; 0 is none."""
    grad_clip: PositiveFloat | None = None
    """Largest norm of the gradient; None leaves it alone."""
    bfloat16: bool = False
    """Compute in bfloat16 where autocasting allows; weights stay in float32."""
    compile: bool = False
    """Compile the network: minutes at the start, faster steps afterwards."""
    fused: bool | None = None
    """Attend without stored maps: less memory, faster on CUDA and slower on CPUs. None does so on CUDA."""

    @model_validator(mode="after")
    def _one_length(self) -> TrainingOptions:
        if (self.total_iter is None) == (self.minutes is None):
            raise ValueError("expected one of 'total_iter' and 'minutes'")
        if self.minutes is not None and isinstance(self.scheduler, MultiStepLR):
            raise ValueError("with 'minutes' expected the scheduler CosineAnnealingLR or OneCycleLR")
        if self.teacher is None and self.pixel_opt.loss_weight == 0:
            raise ValueError("pixel_opt.loss_weight: expected more than 0 without a teacher")
        if self.fused and self.teacher and self.teacher.maps:
            raise ValueError(
                "fused: attentions without stored maps have none to compare; leave it out, or teacher.maps"
            )
        return self


class MetricOptions(Section):
    type: Literal["calculate_psnr", "calculate_ssim"]
    crop_border: Annotated[int, Field(ge=0)]
    test_y_channel: bool = False
    better: Literal["higher", "lower"] = "higher"
    """Of BasicSR; changes nothing."""


class PyiqaMetric(Section):
    """A metric of the package pyiqa, over RGB."""

    type: Literal["pyiqa"]
    metric: str
    """As pyiqa calls it: `lpips`, `dists`, …"""
    crop_border: Annotated[int, Field(ge=0)] = 0


TestMetric = Annotated[MetricOptions | PyiqaMetric, Field(discriminator="type")]


class ValidationOptions(Section):
    val_freq: PositiveInt = 5000
    save_img: bool = False
    suffix: str | None = None
    """Ends the names of the pictures; None takes the iteration."""
    pbar: bool = True
    """Of BasicSR; changes nothing."""
    metrics: dict[str, MetricOptions] = Field(default_factory=dict)


class WandbOptions(Section):
    project: None = None
    """Not supported: the curves go to TensorBoard, `log.jsonl` and `curves.png`."""
    resume_id: None = None


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
    model_type: Literal["SRModel"] = "SRModel"
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

    @model_validator(mode="after")
    def _agree(self) -> TrainOptions:
        _check_factor(self.network_g, self.scale)
        if self.datasets.train.gt_size < self.scale:
            raise ValueError(f"datasets.train.gt_size {self.datasets.train.gt_size} is less than one pixel before")
        try:
            self.network_g.config(self.scale)
        except BgaiError as error:
            raise ValueError(f"network_g: {error}") from None
        return self

    def as_json(self) -> str:
        """All settings."""
        return json.dumps(self.model_dump(mode="json", exclude_none=True))

    def without_places(self) -> str:
        """All settings but where things lie, which is nothing that weights should carry to other machines."""
        return json.dumps(_without_places(self.model_dump(mode="json", exclude_none=True)))


class TestPathOptions(Section):
    pretrain_network_g: Annotated[str, BeforeValidator(_forward_slashes)] = "bgai"
    """`bgai` or `photo` for the weights in the package, `official` for the authors', or a file."""
    strict_load_g: bool = True
    """Of BasicSR; weights that do not fit are always refused."""
    param_key_g: Literal["params", "params_ema"] = "params_ema"
    """Which weights of a `.pth` file."""


class MeasurementOptions(Section):
    save_img: bool = False
    suffix: str | None = None
    """Ends the names of the pictures; None takes the name of the file's test."""
    metrics: dict[str, TestMetric]
    pbar: bool = True
    """Of BasicSR; changes nothing."""


class TestOptions(Section):
    """A whole option file for testing."""

    __test__ = False  # nothing for pytest

    name: Name
    model_type: Literal["SRModel", "TileModel"] = "SRModel"
    """TileModel averages overlapping tiles as the authors do for large images; SRModel gives what the whole image at
    once would."""
    scale: Literal[2, 3, 4]
    num_gpu: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    """0 runs on the CPU."""
    manual_seed: Annotated[int, Field(ge=0)] = 0
    """Of what degradations draw; nothing else is random."""
    tile: Literal["auto"] | Annotated[int, Field(ge=0)] | None = None
    """Side in low-resolution pixels; 0 is the whole image. None is 64 for TileModel, and 0 for SRModel, which takes
    multiples of 16 and `auto`, a size by the free memory."""
    datasets: TestDatasets
    network_g: NetworkOptions = NetworkOptions()
    path: TestPathOptions = TestPathOptions()
    val: MeasurementOptions

    @model_validator(mode="after")
    def _agree(self) -> TestOptions:
        _check_factor(self.network_g, self.scale)
        if self.model_type == "TileModel" and self.tile == "auto":
            raise ValueError("tile: expected a number with TileModel; 'auto' goes with SRModel")
        return self


def _check_factor(network: NetworkOptions, scale: int) -> None:
    if network.upscale_factor not in (None, scale):
        raise ValueError(f"network_g.upscale_factor {network.upscale_factor} does not agree with scale {scale}")


def _without_places(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {key: _without_places(value) for key, value in values.items() if key not in _PLACES}


_PLACES = ("dataroot_gt", "dataroot_lq", "meta_info_file", "pretrain_network_g", "resume_state", "weights")
