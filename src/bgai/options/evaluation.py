"""What an option file for testing may say, in BasicSR's layout."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from bgai.options.sections import (
    AnyPath,
    Dataset,
    Metric,
    Name,
    NetworkOptions,
    PairedDataset,
    check_factor,
    check_model_type,
    check_names,
    forward_slashes,
    model_note,
)
from bgai.options.yaml_file import Section


class SingleDataset(Dataset):
    """Low-resolution images without references: they are enlarged and kept, and nothing is measured."""

    type: Literal["SingleImageDataset"]
    dataroot_lq: AnyPath
    """A folder, searched to any depth, or an LMDB."""
    filename_tmpl: str = "{}"
    """Of BasicSR; changes nothing."""


def _kind(values: object) -> str:
    type_ = values.get("type") if isinstance(values, dict) else getattr(values, "type", None)
    return "single" if type_ == "SingleImageDataset" else "paired"


AnyDataset = Annotated[
    Annotated[PairedDataset, Tag("paired")] | Annotated[SingleDataset, Tag("single")], Discriminator(_kind)
]


class TestDatasets(Section):
    """Sets to measure on: `test_1`, `test_set5`, …, in the order of the file."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, AnyDataset]

    @model_validator(mode="after")
    def _known_phases(self) -> TestDatasets:
        for key in self.__pydantic_extra__:
            if key.split("_")[0] not in ("test", "val"):
                raise ValueError(f"unknown key {key!r}; expected names that begin with 'test_'")
        if not self.__pydantic_extra__:
            raise ValueError("expected one set at least, such as 'test_1'")
        check_names(self.__pydantic_extra__.values())
        return self

    def all(self) -> list[PairedDataset | SingleDataset]:
        return list(self.__pydantic_extra__.values())


class TestPathOptions(Section):
    pretrain_network_g: Annotated[str, BeforeValidator(forward_slashes)] = "bgai"
    """`bgai` or `photo` for the weights in the package, `official` for the authors', or a file."""
    strict_load_g: bool = True
    """Of BasicSR; weights that do not fit are always refused."""
    param_key_g: Literal["params", "params_ema"] = "params_ema"
    """Which weights of a `.pth` file."""
    results_root: AnyPath | None = None
    """Folder of all results; None is `results`."""


class MeasurementOptions(Section):
    save_img: bool = False
    """Keep the enlarged images."""
    suffix: Name | None = None
    """Ends the names of the pictures; None takes the name of the file's test."""
    metrics: dict[str, Metric] = Field(default_factory=dict)
    """By the names that results have; needed for sets with references."""
    selfensemble_testing: bool = False
    """Enlarge the mean of all eight orientations of each image: a little better, eight times as long."""
    use_chop: bool = False
    """Of CAT and DAT: the same as `tile: auto`."""
    pbar: bool = True
    """Of BasicSR; changes nothing."""


class TileOptions(Section):
    """HAT's way to say the side of tiles."""

    tile_size: Annotated[int, Field(ge=0)]
    tile_pad: Annotated[int, Field(ge=0)] = 32
    """Of HAT; tiles overlap by as much as the weights need."""


def _tile_size(value: object) -> object:
    return TileOptions.model_validate(value).tile_size if isinstance(value, dict) else value


class TestOptions(Section):
    """A whole option file for testing."""

    __test__ = False  # nothing for pytest

    name: Name
    model_type: Annotated[str, AfterValidator(lambda value: check_model_type(value, ("Video", "EDVR")))] = "SRModel"
    """TileModel averages overlapping tiles as the authors do for large images; SRModel gives what the whole image at
    once would, and classes of other networks are taken as SRModel."""
    scale: Literal[2, 3, 4]
    num_gpu: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    """0 runs on the CPU."""
    manual_seed: Annotated[int, Field(ge=0)] = 0
    """Of what degradations draw; nothing else is random."""
    tile: Annotated[Literal["auto"] | Annotated[int, Field(ge=0)] | None, BeforeValidator(_tile_size)] = None
    """Side in low-resolution pixels; 0 is the whole image. None is 64 for TileModel, and 0 for SRModel, which takes
    multiples of 16 and `auto`, a size by the free memory."""
    datasets: TestDatasets
    network_g: NetworkOptions = NetworkOptions()
    path: TestPathOptions = TestPathOptions()
    val: MeasurementOptions = MeasurementOptions()
    print_network: bool = False
    """Of SRFormer; changes nothing: `bgai info` shows networks."""
    save_img: bool = False
    """Of older files; the same as `val.save_img`."""

    @model_validator(mode="after")
    def _agree(self) -> TestOptions:
        check_factor(self.network_g, self.scale)
        for dataset in self.datasets.all():
            if isinstance(dataset, PairedDataset) and not self.val.metrics:
                raise ValueError(f"val: expected 'metrics' for {dataset.name}, which has references")
            if isinstance(dataset, SingleDataset) and not self.keeps_images(dataset):
                raise ValueError(f"val.save_img: expected true for {dataset.name}, of which nothing is measured")
        if self.val.selfensemble_testing and (self.model_type == "TileModel" or self.tile or self.val.use_chop):
            raise ValueError("val.selfensemble_testing: expected whole images: model_type SRModel and tile 0")
        if self.model_type == "TileModel" and self.tile == "auto":
            raise ValueError("tile: expected a number with TileModel; 'auto' goes with SRModel")
        return self

    def keeps_images(self, dataset: Dataset) -> bool:
        """Whether the enlarged images of a set are kept."""
        return (self.val.save_img or self.save_img) if dataset.save_img is None else dataset.save_img

    def notes(self) -> list[str]:
        """What the user should know about how the file is understood."""
        return model_note(self.model_type)
