"""Which weights to use: those in the package, the authors' download, or a file."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from platformdirs import user_cache_path

from bgai.errors import UsageError, WeightsError
from bgai.network.config import GRID, SCALES
from bgai.types import Progress
from bgai.weights.download import Pinned, download
from bgai.weights.onnx_file import read_graph_metadata

SHIPPED = Path(__file__).parent / "shipped"
SHIPPED_NAMES = ("bgai", "photo")
"""`bgai` was trained on clean pictures; `photo` continues from it, on compressed and noisy ones."""

_COMMIT = "9dbcae13fb7e8a0cdc193fb5526ee7681b6f9016"
OFFICIAL_MIRRORS = (
    f"https://raw.githubusercontent.com/bbbolt/BGAI/{_COMMIT}/Pretrain_Models",
    f"https://cdn.jsdelivr.net/gh/bbbolt/BGAI@{_COMMIT}/Pretrain_Models",
    f"https://github.com/bbbolt/BGAI/raw/{_COMMIT}/Pretrain_Models",
)
OFFICIAL = {
    2: Pinned(2_940_897, "489fde6efe4337f1ce49731bbd0535d7e345420512bb449d2d230ea7a66d0b63"),
    3: Pinned(2_997_089, "7fa514d7c542256fa621a30f93d767d7913eec4d80b67d65caad1a0ed625ced8"),
    4: Pinned(3_082_297, "de0b72b70dce10eddb2c293ef61dd2064aa343ab4581a58895b1c24964f0232c"),
}
_SUFFIXES = (".safetensors", ".pth", ".state", ".onnx")
DEFAULT_HALO = 64
"""Halo of weights that do not state theirs, such as the authors'; `benchmarks/tiles.py` measures halos."""
_MAX_HALO = 256


@dataclass(frozen=True, slots=True)
class Weights:
    """The file that holds one network's weights: ours in `.safetensors`, the authors' in `.pth`, or a graph."""

    name: str
    file: Path
    key: str = "params_ema"
    """Which of the weights in a `.pth` file: `params_ema` (averaged) or `params`."""
    halo: int = DEFAULT_HALO
    """Pixels along a tile's cut edge whose results with these weights differ from the whole image's."""
    other: Path | None = None
    """A second file of the same network: its tensors are `clean` of the result, and those of `file` the rest."""
    clean: float = 0.0

    @property
    def is_graph(self) -> bool:
        """Whether it is an `.onnx` graph, which OpenVINO alone runs."""
        return self.file.suffix == ".onnx"


def shipped_scales(name: str = "bgai") -> tuple[int, ...]:
    """Scales for which the package holds weights of a name in `SHIPPED_NAMES`."""
    return tuple(scale for scale in SCALES if _shipped_file(name, scale).exists())


def find_weights(
    weights: str | Path | Weights | None,
    scale: int | None = None,
    clean: float | None = None,
    *,
    progress: Progress | None = None,
) -> Weights:
    """Find weights by name or file; the official ones are downloaded when first asked for.

    Args:
        weights: None or `bgai` for those in the package, `photo` for those in the package that were trained on
            compressed and noisy pictures, `official` for the authors', or the path of an `.onnx`, `.safetensors` or
            `.pth` file; an earlier result is returned as it is.
        scale: 2, 3 or 4; without it 4 for named weights. A file has a scale of its own.
        clean: Mixes both sets in the package, from 0, `bgai`, to 1, `photo`. Only without `weights`.
        progress: Called while the official ones are downloaded.

    Raises:
        UsageError: No such scale or `clean`; or `auto`, which `bgai upscale` alone understands.
        WeightsError: No such name or file, or the download failed.
    """
    check_scale(scale)
    if clean is not None:
        return _between(weights, scale or 4, clean)
    if isinstance(weights, Weights):
        return weights
    if weights == "auto":
        raise UsageError(
            "weights 'auto' look at each picture's file, in bgai upscale alone; name 'bgai' or 'photo' here"
        )
    if weights is None or weights in SHIPPED_NAMES:
        return _shipped(str(weights or "bgai"), scale or 4)
    if weights == "official":
        return Weights(f"official ×{scale or 4}", _official(scale or 4, progress))
    path = Path(weights)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; weights are 'bgai', 'photo', 'official' or the path of a file")
    if path.suffix in _SUFFIXES:
        return Weights(path.name, path, halo=_halo(path))
    raise WeightsError(f"{path}: expected an .onnx, .safetensors or .pth file, or the .state of a training")


def check_scale(scale: int | None) -> None:
    """Refuse an unknown scale.

    Raises:
        UsageError: It is not one of `SCALES`.
    """
    if scale is not None and scale not in SCALES:
        raise UsageError(f"scale {scale}: expected one of 2, 3 and 4")


def cache_folder() -> Path:
    """Where downloads and compiled graphs are kept; the environment variable BGAI_CACHE moves it."""
    return Path(os.environ.get("BGAI_CACHE") or user_cache_path("bgai"))


def official_file(scale: int) -> Path | None:
    """The authors' checkpoint in the cache; None if it is missing or its content is not the pinned one."""
    with suppress(OSError):  # not there, or not readable: fetched anew
        if OFFICIAL[scale].is_in(_official_target(scale).read_bytes()):
            return _official_target(scale)
    return None


def official_urls(scale: int) -> list[str]:
    """Addresses of the authors' checkpoint, in the order in which they are tried.

    BGAI_OFFICIAL_URL names other mirrors, separated by spaces, where firewalls forbid these: `https` addresses of a
    folder, or `http` ones on this machine.
    """
    mirrors = os.environ.get("BGAI_OFFICIAL_URL", "").split() or OFFICIAL_MIRRORS
    return [f"{mirror.rstrip('/')}/{_official_target(scale).name}" for mirror in mirrors]


def _official(scale: int, progress: Progress | None) -> Path:
    target = _official_target(scale)
    if official_file(scale) is None:
        download(official_urls(scale), OFFICIAL[scale], target, progress)
    return target


def _official_target(scale: int) -> Path:
    return cache_folder() / "official" / f"BGAI_x{scale}.pth"


def _shipped(name: str, scale: int) -> Weights:
    held = shipped_scales(name)
    if scale not in held:
        others = ", only " + ", ".join(f"×{other}" for other in held) if held else ""
        raise WeightsError(
            f"the package holds no {name} weights for ×{scale} yet{others}; use 'official' or a file of yours",
            parameter="weights",
        )
    file = _shipped_file(name, scale)
    return Weights(f"{name} ×{scale}", file, halo=_halo(file))


def _between(weights: str | Path | Weights | None, scale: int, clean: float) -> Weights:
    if weights is not None:
        given = weights.name if isinstance(weights, Weights) else weights
        raise UsageError(f"clean {clean:g}: lies between the package's two sets of weights; leave out weights {given}")
    if not 0 <= clean <= 1:
        raise UsageError(f"clean {clean:g}: expected 0 to 1")
    plain, photo = (_shipped(name, scale) for name in SHIPPED_NAMES)
    if clean in (0, 1):
        return photo if clean else plain
    halo = max(plain.halo, photo.halo)
    return replace(plain, name=f"bgai ×{scale}, clean {clean:g}", halo=halo, other=photo.file, clean=clean)


def _shipped_file(name: str, scale: int) -> Path:
    return SHIPPED / f"{name}_x{scale}.safetensors"


def _halo(file: Path) -> int:
    """The halo that the metadata of a file state: the same wherever the file lies."""
    said = _metadata(file).get("halo")
    if said is None:
        return DEFAULT_HALO
    if said not in map(str, range(0, _MAX_HALO + 1, GRID // 2)):
        raise WeightsError(f"{file}: its metadata says halo {said[:40]!r}; expected a multiple of 8 up to {_MAX_HALO}")
    return int(said)


def _metadata(file: Path) -> dict[str, str]:
    if file.suffix == ".safetensors":
        from bgai.weights.safetensors_file import read_metadata

        return read_metadata(file)
    return read_graph_metadata(file) if file.suffix == ".onnx" else {}
