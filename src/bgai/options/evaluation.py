"""What an option file for testing may say, in BasicSR's layout."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from bgai.options.sections import (
    MetricOptions,
    Name,
    NetworkOptions,
    PairedDataset,
    check_factor,
    check_names,
    forward_slashes,
)
from bgai.options.yaml_file import Section


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
        check_names(self.__pydantic_extra__.values())
        return self

    def all(self) -> list[PairedDataset]:
        return list(self.__pydantic_extra__.values())


class PyiqaMetric(Section):
    """A metric of the package pyiqa, over RGB."""

    type: Literal["pyiqa"]
    metric: str
    """As pyiqa calls it: `lpips`, `dists`, …"""
    crop_border: Annotated[int, Field(ge=0)] = 0


TestMetric = Annotated[MetricOptions | PyiqaMetric, Field(discriminator="type")]


class TestPathOptions(Section):
    pretrain_network_g: Annotated[str, BeforeValidator(forward_slashes)] = "bgai"
    """`bgai` or `photo` for the weights in the package, `official` for the authors', or a file."""
    strict_load_g: bool = True
    """Of BasicSR; weights that do not fit are always refused."""
    param_key_g: Literal["params", "params_ema"] = "params_ema"
    """Which weights of a `.pth` file."""


class MeasurementOptions(Section):
    save_img: bool = False
    suffix: Name | None = None
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
        check_factor(self.network_g, self.scale)
        if self.model_type == "TileModel" and self.tile == "auto":
            raise ValueError("tile: expected a number with TileModel; 'auto' goes with SRModel")
        return self
