"""Sections that option files for training and for testing share, in BasicSR's layout.

Keys that BasicSR has and that change nothing here are accepted where its files carry them, and say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)

from bgai.datasets.degradation import BlurModel, DegradationModel, JpegModel, NoiseModel, WebpModel
from bgai.names import checked_name
from bgai.network.config import NetworkConfig
from bgai.options.yaml_file import Section


def forward_slashes(value: object) -> object:
    return value.replace("\\", "/") if isinstance(value, str) else value


AnyPath = Annotated[Path, BeforeValidator(forward_slashes)]
Folders = AnyPath | Annotated[tuple[AnyPath, ...], Field(min_length=1)]
"""A folder or store of images, or a list of them."""
Name = Annotated[str, AfterValidator(checked_name)]
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

    def model(self) -> DegradationModel:
        """The same as a value that needs no option file."""
        return DegradationModel(
            self.clean,
            BlurModel(**self.blur.model_dump()) if self.blur else None,
            NoiseModel(**self.noise.model_dump()) if self.noise else None,
            WebpModel(**self.webp.model_dump()) if self.webp else None,
            JpegModel(**self.jpeg.model_dump()) if self.jpeg else None,
        )


class Dataset(Section):
    """What all sets of images have."""

    name: Name
    task: Literal["SR"] = "SR"
    """Of CAT, DAT and RGT; super-resolution is the only task here."""
    io_backend: IoBackend = IoBackend()
    save_img: bool | None = None
    """Whether the enlarged images of this set are kept; None is what `val.save_img` says."""


class PairedDataset(Dataset):
    """Folders, searched to any depth, or LMDBs of high-resolution images and their low-resolution versions."""

    type: Literal["PairedImageDataset", "ImageNetPairedDataset"] = "PairedImageDataset"
    """HAT's ImageNetPairedDataset is one without `dataroot_lq`."""
    dataroot_gt: Folders
    dataroot_lq: Folders | None = None
    """None makes the low-resolution images by MATLAB's bicubic as they are read. Of a list of folders, as many as
    `dataroot_gt` has, each is the low resolution of the folder in the same place."""
    filename_tmpl: Name = "{}"
    """Name of the low-resolution image of a high-resolution one, both without suffix, such as `{}x4`."""
    degradation: DegradationOptions | None = None
    """None leaves the low-resolution images as they are."""

    @field_validator("filename_tmpl")
    @classmethod
    def _has_a_place(cls, value: str) -> str:
        if value.count("{}") != 1:
            raise ValueError("expected one {} in the place of the name")
        return value

    @model_validator(mode="after")
    def _pairs_of_folders(self) -> PairedDataset:
        if self.type == "ImageNetPairedDataset" and self.dataroot_lq is not None:
            raise ValueError("dataroot_lq: expected none with ImageNetPairedDataset, which makes its low resolution")
        if self.dataroot_lq is not None and len(self.lq_folders) != len(self.gt_folders):
            counts = f"{len(self.gt_folders)} and {len(self.lq_folders)}"
            raise ValueError(f"expected as many folders dataroot_lq as dataroot_gt; found {counts}")
        return self

    @property
    def gt_folders(self) -> Sequence[Path]:
        """All of `dataroot_gt`."""
        return self.dataroot_gt if isinstance(self.dataroot_gt, tuple) else (self.dataroot_gt,)

    @property
    def lq_folders(self) -> Sequence[Path]:
        """All of `dataroot_lq`."""
        if self.dataroot_lq is None:
            return ()
        return self.dataroot_lq if isinstance(self.dataroot_lq, tuple) else (self.dataroot_lq,)


def check_names(datasets: Iterable[Dataset]) -> None:
    names = [dataset.name for dataset in datasets]
    if len(set(names)) < len(names):
        raise ValueError(f"expected sets of different names; found {', '.join(names)}")


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


class PyiqaMetric(Section):
    """A metric of the package pyiqa, over RGB."""

    type: Literal["pyiqa"]
    metric: str
    """As pyiqa calls it: `lpips`, `dists`, …"""
    crop_border: Annotated[int, Field(ge=0)] = 0
    better: Literal["higher", "lower"] = "higher"
    """Which values are better, for `net_g_best`; of LPIPS and DISTS, lower ones."""


class MetricOptions(Section):
    type: Literal["calculate_psnr", "calculate_ssim"]
    crop_border: Annotated[int, Field(ge=0)]
    test_y_channel: bool = False
    better: Literal["higher", "lower"] = "higher"
    """Which values are better, for `net_g_best`."""


Metric = Annotated[MetricOptions | PyiqaMetric, Field(discriminator="type")]


def check_model_type(value: object, refused: Sequence[str]) -> object:
    """Other networks' classes differ from SRModel in keys of their own, which are refused, or train in another way."""
    if not isinstance(value, str) or not value.endswith("Model"):
        raise ValueError(f"expected a name such as 'SRModel'; found {value!r}")
    if any(part in value for part in refused):
        raise ValueError(f"{value} works in a way that is not known here; expected 'SRModel'")
    return value


def model_note(model_type: str) -> list[str]:
    """A line for the user where the file names the class of another network."""
    return [] if model_type in ("SRModel", "TileModel") else [f"model_type {model_type}: taken as SRModel"]


def check_factor(network: NetworkOptions, scale: int) -> None:
    if network.upscale_factor not in (None, scale):
        raise ValueError(f"network_g.upscale_factor {network.upscale_factor} does not agree with scale {scale}")
