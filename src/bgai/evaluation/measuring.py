"""One image of a test: enlarged as the option file says, measured, and kept where it asks for that."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bgai.datasets.matlab_resize import imresize
from bgai.datasets.pairs import Images, PairedImages
from bgai.engines.selection import check_engine
from bgai.errors import ImageError, UsageError
from bgai.evaluation.averaged_tiles import enlarge_averaging
from bgai.evaluation.orientations import enlarge_in_all_orientations
from bgai.evaluation.result_folder import Measurement
from bgai.evaluation.scores import Scorer
from bgai.names import path_within
from bgai.network.config import NetworkConfig
from bgai.options.evaluation import TestOptions
from bgai.pictures.writing import save_rgb_png
from bgai.types import EngineName, RgbImage, Size
from bgai.upscaling.memory_plan import COMMAND_MEMORY, PROCESS_BASE
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.sources import Weights, find_weights

Place = tuple[str, str]
"""Names of a set and of an image in it."""


@dataclass(frozen=True, slots=True)
class TestSets:
    """The images of a test."""

    __test__ = False  # nothing for pytest

    paired: Mapping[str, PairedImages]
    single: Mapping[str, Images]
    """Without references."""
    kept: Collection[str]
    """Names of the sets whose enlarged images are kept."""
    folder: Path
    """Where they are kept."""
    suffix: str
    """Ends their names."""

    def sizes(self) -> dict[str, list[Size]]:
        """Of the low-resolution images, by set."""
        paired = {name: pairs.sizes() for name, pairs in self.paired.items()}
        return {**paired, **{name: [images.size(key) for key in images.keys] for name, images in self.single.items()}}

    def names(self) -> dict[str, Sequence[str]]:
        """Of the images, by set."""
        paired = {name: pairs.names for name, pairs in self.paired.items()}
        return {**paired, **{name: images.keys for name, images in self.single.items()}}

    def picture(self, place: Place) -> Path:
        """Where an enlarged image is kept."""
        name, image = place
        return path_within(self.folder / name, f"{image}_{self.suffix}.png")


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of an image."""

    measurement: Measurement | None
    """None for an image without reference, which was only enlarged."""
    images: tuple[RgbImage, RgbImage, RgbImage] | None
    """Enlarged by bicubic, enlarged by the network, and the original; None where they are not needed."""


class Enlarger:
    """Enlarges whole images in the way that the option file says.

    Args:
        options: The option file.
        engine: As for `run_test`.
        device: As for `run_test`.
        memory: What tiles of the size `auto` depend on, as for `bgai.Upscaler`.
    """

    def __init__(self, options: TestOptions, engine: EngineName, device: str, memory: int | None = None) -> None:
        weights = find_weights(options.path.pretrain_network_g, options.scale)
        self.weights = dataclasses.replace(weights, key=options.path.param_key_g)
        averaging = options.model_type == "TileModel"
        tile = options.tile if options.tile is not None else 64 if averaging else 0
        self._averaged_tile = tile if averaging and isinstance(tile, int) else 0
        tile = "auto" if options.val.use_chop and options.tile is None and not averaging else tile
        self._ensemble = options.val.selfensemble_testing
        self.whole = tile == 0
        own_tile = None if tile == "auto" else 0 if averaging else tile
        self.upscaler = Upscaler(
            options.scale, self.weights, check_engine(engine), device, tile=own_tile, memory=memory
        )
        if self.upscaler.network:
            _check_settings(options, self.weights, self.upscaler.network)

    def __call__(self, lr: RgbImage) -> RgbImage:
        if self._averaged_tile:
            return enlarge_averaging(self.upscaler.engine, lr, self._averaged_tile)
        if self._ensemble:
            return enlarge_in_all_orientations(self.upscaler.engine, lr)
        return self.upscaler.upscale(lr)

    def prepare(self, lr: RgbImage) -> None:
        """Compile for this size before it is timed."""
        if not self._averaged_tile:
            self.upscaler.prepare(lr)

    def identity(self) -> dict[str, str]:
        """What has to be the same wherever images of one test are enlarged."""
        content = hashlib.sha256(self.weights.file.read_bytes()).hexdigest()
        return {"weights_sha256": content, "engine": self.upscaler.engine.name, "device": self.upscaler.engine.device}

    def check_memory(self, sets: Mapping[str, Sequence[Size]]) -> None:
        """Refuse whole images that memory cannot hold."""
        free = self.upscaler.engine.free_memory()
        for name, sizes in sets.items() if self.whole else ():
            height, width = max(sizes, key=_area)
            if (needed := self._whole_bytes(sizes)) > free:
                raise ImageError(
                    f"{name}: an image of {width} x {height} pixels as a whole takes {needed / 2**30:.1f} GiB, of which"
                    f" {free / 2**30:.1f} are free; set  model_type: SRModel  and  tile: auto"
                )

    def memory_needed(self, sets: Mapping[str, Sequence[Size]]) -> int:
        """Bytes that a process takes which enlarges any image of these sets, without what a GPU holds."""
        if not self.whole or self.upscaler.engine.device != "cpu":
            return COMMAND_MEMORY
        return max(COMMAND_MEMORY, PROCESS_BASE + max(map(self._whole_bytes, sets.values())))

    def _whole_bytes(self, sizes: Sequence[Size]) -> int:
        return max(map(_area, sizes)) * self.upscaler.engine.bytes_per_pixel


class Measurer:
    """Enlarges and measures one image of a test after the other."""

    def __init__(self, options: TestOptions, sets: TestSets, enlarge: Enlarger) -> None:
        self._sets, self._enlarge = sets, enlarge
        self._bicubic = partial(imresize, factor=options.scale)
        self._scorer = Scorer(options.val.metrics)

    def __call__(self, place: Place) -> Measured:
        """Enlarge an image, keep it if its set is to be kept, and measure it if it has a reference.

        Raises:
            ImageError: It cannot be read.
            OutputError: It cannot be kept.
        """
        name, image = place
        if name in self._sets.single:
            self._keep(place, self._enlarge(self._sets.single[name].read(image)))
            return Measured(None, None)
        pairs = self._sets.paired[name]
        lr, hr = pairs.read(pairs.names.index(image))
        self._enlarge.prepare(lr)
        sr, seconds = _timed(self._enlarge, lr)
        bicubic, bicubic_seconds = _timed(self._bicubic, lr)
        self._keep(place, sr)
        megapixels = sr.shape[0] * sr.shape[1] / 1e6
        scores = self._scorer(sr, hr)
        measurement = Measurement(name, image, megapixels, seconds, scores, bicubic_seconds, self._scorer(bicubic, hr))
        return Measured(measurement, (bicubic, sr, hr))

    def _keep(self, place: Place, sr: RgbImage) -> None:
        if place[0] in self._sets.kept:
            save_rgb_png(self._sets.picture(place), sr)


def _check_settings(options: TestOptions, weights: Weights, config: NetworkConfig) -> None:
    """Refuse settings in the option file that are not those of the weights."""
    given = options.network_g.model_dump(exclude={"type", "upscale_factor"}, exclude_none=True)
    held = dataclasses.asdict(config)
    if differing := [name for name, value in given.items() if held[name] != value]:
        raise UsageError(f"network_g: {differing[0]} {given[differing[0]]}; {weights.name} has {held[differing[0]]}")


def _timed(enlarge: Callable[[RgbImage], RgbImage], lr: RgbImage) -> tuple[RgbImage, float]:
    start = time.perf_counter()
    return enlarge(lr), time.perf_counter() - start


def _area(size: Size) -> int:
    return size[0] * size[1]
