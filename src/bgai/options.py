"""Option files in BasicSR's layout, parsed once into typed, frozen settings.

A key that does not exist is an error that names the line and the nearest key that does. A value of `~` (null) means
the default. Keys that BasicSR has and that change nothing here are accepted where its files carry them, and say so.
"""

from __future__ import annotations

import difflib
import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from bgai.config import NetworkConfig
from bgai.errors import BgaiError, UsageError


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


class Section(BaseModel):
    """One level of an option file: no unknown keys, nothing changes later, null means the default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, values: object) -> object:
        if values is None:
            return {}
        if isinstance(values, Mapping):
            return {key: value for key, value in values.items() if value is not None}
        return values


class IoBackend(Section):
    type: Literal["disk", "lmdb"] = "disk"


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
        names = [dataset.name for dataset in self.validation.values()]
        if len(set(names)) < len(names):
            raise ValueError(f"expected validation sets of different names; found {', '.join(names)}")
        return self

    @property
    def validation(self) -> dict[str, PairedDataset]:
        return self.__pydantic_extra__


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
    type: Literal["Adam", "AdamW"] = "Adam"
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
    loss_weight: PositiveFloat = 1
    reduction: Literal["mean"] = "mean"


class TrainingOptions(Section):
    optim_g: OptimizerOptions
    scheduler: Scheduler
    pixel_opt: PixelLoss = PixelLoss()
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

    @model_validator(mode="after")
    def _one_length(self) -> TrainingOptions:
        if (self.total_iter is None) == (self.minutes is None):
            raise ValueError("expected one of 'total_iter' and 'minutes'")
        if self.minutes is not None and isinstance(self.scheduler, MultiStepLR):
            raise ValueError("with 'minutes' expected the scheduler CosineAnnealingLR or OneCycleLR")
        return self


class MetricOptions(Section):
    type: Literal["calculate_psnr", "calculate_ssim"]
    crop_border: Annotated[int, Field(ge=0)]
    test_y_channel: bool = False
    better: Literal["higher", "lower"] = "higher"
    """Of BasicSR; changes nothing."""


class ValidationOptions(Section):
    val_freq: PositiveInt = 5000
    save_img: bool = False
    suffix: str | None = None
    """Ends the names of the pictures; None takes the iteration."""
    pbar: bool = True
    """Of BasicSR; changes nothing."""
    metrics: dict[str, MetricOptions] = {}


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
        factor = self.network_g.upscale_factor
        if factor not in (None, self.scale):
            raise ValueError(f"network_g.upscale_factor {factor} does not agree with scale {self.scale}")
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


def _without_places(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {key: _without_places(value) for key, value in values.items() if key not in _PLACES}


_PLACES = ("dataroot_gt", "dataroot_lq", "meta_info_file", "pretrain_network_g", "resume_state")
Options = TypeVar("Options", bound=Section)


def read_options(path: Path, kind: type[Options], overrides: Iterable[str] = ()) -> Options:
    """Parse an option file.

    Args:
        path: A YAML file.
        kind: What the file is for, such as `TrainOptions`.
        overrides: `a:b=value` replaces or adds the key b below a; values are YAML.

    Raises:
        UsageError: The file is missing or no YAML, or a key or value is wrong; a line for each of these, with the
            line in the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{path}:{line}: not YAML: {error.problem or error}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict) or root is None:
        raise UsageError(f"{path}: expected an option file with keys such as 'name' and 'scale'")
    _refuse_repetition(root, path)
    overrides = tuple(overrides)
    for override in overrides:
        _apply(override, values)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UsageError("\n".join(dict.fromkeys(_messages(error, path, root, kind, overrides)))) from None


def _refuse_repetition(node: yaml.Node, path: Path) -> None:
    """YAML's readers take the last of two equal keys without a word."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in seen:
            raise UsageError(f"{path}:{line}: {key.value!r} is there already, in line {seen[key.value]}")
        seen[key.value] = line
        _refuse_repetition(value, path)


def _apply(override: str, values: dict[str, Any]) -> None:
    keys, equals, value = override.partition("=")
    *sections, last = keys.split(":")
    if not equals or not last:
        raise UsageError(f"--force_yml {override}: expected keys and a value, such as train:optim_g:lr=1e-4")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        parsed = value
    for section in sections:
        below = values.setdefault(section, {})
        if below is None:
            below = values[section] = {}
        if not isinstance(below, dict):
            raise UsageError(f"--force_yml {override}: {section!r} is a value, not a section")
        values = below
    values[last] = parsed


def _messages(
    error: ValidationError, path: Path, root: yaml.Node, kind: type[Section], overrides: Iterable[str]
) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        keys = [str(part) for part in problem["loc"]]
        line, found = _line(root, keys)
        where = f"{path}:{line}: {':'.join(found)}".removesuffix(": ")
        for override in overrides:
            parts = override.partition("=")[0].split(":")
            if keys[: len(parts)] == parts:
                where = f"--force_yml {override}"
        match problem["type"]:
            case "extra_forbidden":
                yield f"{where.removesuffix(':'.join(found)).removesuffix(': ')}: {_unknown(keys, kind)}"
            case "missing":
                yield f"{where}: expected {keys[-1]!r} here"
            case "value_error":
                yield f"{where}: {problem['ctx']['error']}"
            case _:
                message, value = problem["msg"], textwrap.shorten(repr(problem["input"]), 60)
                yield f"{where}: {message[0].lower()}{message[1:]}; found {value}"


def _line(node: yaml.Node, keys: list[str]) -> tuple[int, list[str]]:
    """The line of the deepest of the keys that the file holds, and those keys."""
    line, found = node.start_mark.line + 1, []
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                if name.value == key:
                    line, node = name.start_mark.line + 1, value
                    found.append(key)
                    break
    return line, found


def _unknown(keys: list[str], kind: type[Section]) -> str:
    """Which key is unknown, and what may have been meant: a key of the section, or one of another."""
    key, beside = keys[-1], _keys_beside(keys, kind)
    sections = dict(_sections(kind))
    elsewhere = [":".join(parents) or "the top" for parents, names in sections.items() if key in names]
    if near := difflib.get_close_matches(key, beside, n=1):
        return f"unknown key {key!r}; did you mean {near[0]!r}?"
    if elsewhere:
        return f"unknown key {key!r} here; it belongs below {elsewhere[0]}"
    if near := difflib.get_close_matches(key, set().union(*sections.values()), n=1):
        return f"unknown key {key!r}; did you mean {near[0]!r}?"
    return f"unknown key {key!r}; known here are {', '.join(sorted(beside))}"


def _keys_beside(keys: list[str], kind: type[BaseModel]) -> set[str]:
    """What the section of the last of these keys may hold."""
    models = [kind]
    for key in keys[:-1]:
        below = [model for parent in models for model in _below(parent, key)]
        models = below or models  # names of metrics and of alternatives are no fields
    return {name for model in models for name in model.model_fields}


def _below(parent: type[BaseModel], key: str) -> list[type[BaseModel]]:
    if key in parent.model_fields:
        return list(_models(parent.model_fields[key].annotation))
    return [PairedDataset] if parent is TrainDatasets else []


def _sections(kind: type[BaseModel], parents: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """The keys of each section below `kind`, the alternatives of one together."""
    yield parents, set(kind.model_fields)
    for name, field in kind.model_fields.items():
        for below in _models(field.annotation):
            yield from _sections(below, (*parents, name))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models(argument)
