"""What `peers.py` compares: our networks and others', and the process that enlarges pictures with one of them.

Code and weights of the others are imported from clones of their repositories; spandrel brings the code where it knows
the network by its weights.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.benchmark.worker import Facts, Run, serve
from bgai.types import EngineName, RgbImage

SCALE = 4

Planes = NDArray[np.float32]  # 1 x 3 x H x W
Enlarge = Callable[[RgbImage], RgbImage]
Open = Callable[[Path, Sequence[RgbImage]], Enlarge]
"""Loads what enlarges, given the folder of clones and the pictures that are to be enlarged."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Something that enlarges pictures four times."""

    open: Open
    trained_on: str = ""
    published: Mapping[str, float] = field(default_factory=dict)
    """PSNR-Y in dB by set."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network of a repository."""

    repository: str
    """Owner and name on GitHub; the clone has the same name."""
    weights: str
    """Their file in the clone."""
    code: str = ""
    """Folder in the clone, module and class, separated by colons; empty for a network that spandrel knows."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of the class."""
    call: Mapping[str, Any] = field(default_factory=dict)
    """Arguments for each image, besides the image."""
    white: float = 1
    """The value that 255 is given as."""
    trained_on: str = ""
    published: Mapping[str, float] = field(default_factory=dict)
    """PSNR-Y in dB by set."""

    def load(self, clones: Path) -> Any:
        """The network with its weights: called with 1 x 3 x H x W, it returns the same of four times the size.

        Raises:
            FileNotFoundError: There is no such clone.
        """
        import torch

        clone = clones / self.repository.split("/")[1]
        if not clone.is_dir():
            raise FileNotFoundError(f"{clone} is missing: git clone https://github.com/{self.repository} {clone}")
        saved = torch.load(clone / self.weights, "cpu", weights_only=True)
        weights = saved.get("params_ema", saved.get("params", saved))
        weights = {name.removeprefix("module."): values for name, values in weights.items()}
        stand_in()
        if not self.code:
            from spandrel import ModelLoader

            return ModelLoader("cpu").load_from_state_dict(weights).eval()
        folder, module, name = self.code.split(":")
        sys.path.insert(0, str(clone / folder))
        network = getattr(importlib.import_module(module), name)(**self.arguments)
        network.load_state_dict(weights)
        return network.eval()


def stand_in() -> None:
    """Give empty names for what the clones and spandrel import and do not need to enlarge a picture."""
    import torch

    names: dict[str, dict[str, Any]] = {
        "basicsr": {},
        "basicsr.utils": {"scandir": lambda folder: ()},
        "basicsr.utils.registry": {"ARCH_REGISTRY": types.SimpleNamespace(register=lambda: lambda network: network)},
        "basicsr.archs": {},
        "basicsr.archs.arch_util": {"default_init_weights": lambda *arguments: None},
    }
    if not imports("torchvision"):
        names |= {
            "torchvision": {},
            "torchvision.transforms": {},
            "torchvision.transforms.functional": {"InterpolationMode": None, "normalize": None, "rotate": None},
        }
    for name, members in names.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(members)
    for moved in (torch.nn.Module, torch.Tensor):  # SPAN moves itself and an image to a GPU while it is made
        setattr(moved, "cuda", lambda self: self)  # noqa: B010


def imports(module: str) -> bool:
    """Whether a module is there, and works with what else is installed."""
    try:
        importlib.import_module(module)
    except (ImportError, RuntimeError):  # torchvision without the PyTorch that it was built for raises the latter
        return False
    return True


def by_torch(network: Network) -> Open:
    """As its authors run it: eagerly in PyTorch."""

    def open_network(clones: Path, pictures: Sequence[RgbImage]) -> Enlarge:
        import torch

        loaded = network.load(clones)

        @torch.inference_mode()
        def run(planes: Planes) -> Planes:
            result: Planes = loaded(torch.from_numpy(planes), **network.call).numpy()
            return result

        return on_images(run, network.white)

    return open_network


def by_openvino(network: Network) -> Open:
    """Converted for our engine: one graph for the pictures' size, or for any size where they differ."""

    def open_network(clones: Path, pictures: Sequence[RgbImage]) -> Enlarge:
        from bgai.engines.openvino_runtime import SETTINGS, core

        sizes = {picture.shape[:2] for picture in pictures}
        shape = (1, 3, *(sizes.pop() if len(sizes) == 1 else (-1, -1)))
        compiled = core().compile_model(convert(network, network.load(clones), shape), "CPU", SETTINGS)

        def run(planes: Planes) -> Planes:
            result: Planes = compiled(planes)[0]
            return result

        enlarge, original = on_images(run, network.white), by_torch(network)(clones, pictures)
        for picture in (pictures[0], pictures[-1]):
            if np.abs(enlarge(picture).astype(int) - original(picture)).max() > 1:
                raise RuntimeError("the converted network does not agree with its original")
        return enlarge

    return open_network


def convert(network: Network, loaded: Any, shape: Sequence[int]) -> Any:
    """An OpenVINO model for images of a shape, -1 for any length."""
    import torch

    class Called(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = getattr(loaded, "model", loaded)  # spandrel's descriptor holds the network

        def forward(self, planes: torch.Tensor) -> Any:
            return self.network(planes, **network.call)

    example = torch.rand([72 if length == -1 else length for length in shape])
    openvino = importlib.import_module("openvino")  # as openvino_runtime has loaded it
    return openvino.convert_model(Called().eval(), example_input=example, input=list(shape))


def on_images(run: Callable[[Planes], Planes], white: float) -> Enlarge:
    """From RGB image to RGB image, by a network whose white has some value."""

    def enlarge(image: RgbImage) -> RgbImage:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) * np.float32(white / 255)
        result = run(planes)[0].transpose(1, 2, 0) * np.float32(255 / white)
        levels: RgbImage = np.rint(result).clip(0, 255).astype(np.uint8)
        return levels

    return enlarge


def ours(weights: str, engine: EngineName) -> Open:
    def open_upscaler(clones: Path, pictures: Sequence[RgbImage]) -> Enlarge:
        from bgai.upscaling.upscaler import Upscaler

        return Upscaler(SCALE, weights, engine, device="cpu").upscale

    return open_upscaler


def authors(clones: Path, pictures: Sequence[RgbImage]) -> Enlarge:
    """The authors' code with the authors' weights."""
    import torch
    from authors import authors_network

    network = authors_network(clones / "BGAI", clones / "BGAI/Pretrain_Models/BGAI_x4.pth", SCALE)

    @torch.inference_mode()
    def run(planes: Planes) -> Planes:
        result: Planes = network(torch.from_numpy(planes)).numpy()
        return result

    return on_images(run, 1)


def interpolated(name: str) -> Open:
    def open_filter(clones: Path, pictures: Sequence[RgbImage]) -> Enlarge:
        import cv2

        def enlarge(image: RgbImage) -> RgbImage:
            result: RgbImage = cv2.resize(image, None, fx=SCALE, fy=SCALE, interpolation=getattr(cv2, name))
            return result

        return enlarge

    return open_filter


def by_opencv(name: str, file: str) -> Open:
    """One of the networks that OpenCV enlarges the luma with."""

    def open_network(clones: Path, pictures: Sequence[RgbImage]) -> Enlarge:
        import cv2

        network = cv2.dnn_superres.DnnSuperResImpl_create()
        network.readModel(str(clones / file))
        network.setModel(name, SCALE)

        def enlarge(image: RgbImage) -> RgbImage:
            bgr: RgbImage = network.upsample(np.ascontiguousarray(image[..., ::-1]))
            return bgr[..., ::-1]

        return enlarge

    return open_network


NTIRE = "Amazingren/NTIRE2024_ESR"
NETWORKS = {
    "SPAN-28": Network(
        NTIRE,
        "model_zoo/team38_span_ch28_slim.pth",
        ".:models.team38_SPAN:SPAN30",
        {"num_in_ch": 3, "num_out_ch": 3, "upscale": SCALE, "feature_channels": 28},
        trained_on="not said",
    ),
    "RLFN": Network(
        NTIRE,
        "model_zoo/team00_rlfn.pth",
        ".:models.team00_RLFN:RLFN_Prune",
        white=255,
        trained_on="not said",
    ),
    "SAFMN": Network(
        "sunny2109/SAFMN",
        "NTIRE2023_ESR/model_zoo/team15_SAFMN.pth",
        "NTIRE2023_ESR:models.team15_SAFMN:SAFMN",
        {"dim": 36, "n_blocks": 8, "ffn_scale": 2.0, "upscaling_factor": SCALE},
        trained_on="not said",
    ),
    "CARN-M": Network(
        "nmhkahn/CARN-pytorch",
        "checkpoint/carn_m.pth",
        "carn:model.carn_m:Net",
        {"multi_scale": True, "group": 4},
        {"scale": SCALE},
        trained_on="DIV2K",
        published={"Set5": 31.92, "Set14": 28.42},
    ),
    "IMDN": Network(
        "Zheng222/IMDN",
        "checkpoints/IMDN_x4.pth",
        ".:model.architecture:IMDN",
        {"upscale": SCALE},
        trained_on="DIV2K",
        published={"Set5": 32.21, "Set14": 28.58},
    ),
    "PAN": Network(
        "zhaohengyuan1/PAN",
        "experiments/pretrained_models/PANx4_DF2K.pth",
        "codes:models.archs.PAN_arch:PAN",
        {"in_nc": 3, "out_nc": 3, "nf": 40, "unf": 24, "nb": 16, "scale": SCALE},
        trained_on="DF2K",
        published={"Set5": 32.13, "Set14": 28.61},
    ),
    "VapSR-S": Network(
        "zhoumumu/VapSR",
        "VapSR-S.pth",
        "code:vapsr:vapsr",
        {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 32, "num_block": 11, "conv_groups": 2},
        trained_on="DF2K",
        published={"Set5": 32.14, "Set14": 28.64},
    ),
    "VapSR": Network(
        "zhoumumu/VapSR",
        "VapSR_X4.pth",
        "code:vapsr:vapsr",
        {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 48, "num_block": 21},
        trained_on="DF2K",
        published={"Set5": 32.38, "Set14": 28.77},
    ),
    "ESWT": Network(
        "Fried-Rice-Lab/FriedRiceLab",
        "modelzoo/ESWT/ESWT-24-6_LSR_x4.pth",
        ".:archs.eswt_arch:ESWT",
        {"upscale": SCALE, "num_in_ch": 3, "num_out_ch": 3, "task": "lsr", "n_t": 6, "n_g": 3, "dim": 60},
        white=255,
        trained_on="DF2K",
        published={"Set5": 32.46, "Set14": 28.80},
    ),
    "CRAFT": Network(
        NTIRE,
        "model_zoo/team34_craft.pth",
        trained_on="not said",
    ),
}
CONVERTED = ", OpenVINO"
PEERS = {
    "bgai": Peer(ours("bgai", "native")),
    "bgai, authors' weights": Peer(ours("official", "native")),
    "bgai in OpenVINO": Peer(ours("bgai", "openvino")),
    "authors' network": Peer(authors),
    "bicubic": Peer(interpolated("INTER_CUBIC")),
    "Lanczos": Peer(interpolated("INTER_LANCZOS4")),
    "ESPCN": Peer(by_opencv("espcn", "TF-ESPCN/export/ESPCN_x4.pb"), "DIV2K"),
    "FSRCNN": Peer(by_opencv("fsrcnn", "FSRCNN_Tensorflow/models/FSRCNN_x4.pb"), "T91, General100"),
    **{name: Peer(by_torch(network), network.trained_on, network.published) for name, network in NETWORKS.items()},
    **{
        name + CONVERTED: Peer(by_openvino(network), network.trained_on, network.published)
        for name, network in NETWORKS.items()
    },
}


def begin(options: argparse.Namespace) -> tuple[Run, Facts]:
    """Load one peer, and let it enlarge all sets."""
    sets = {name: sorted((options.work / "pictures" / name).iterdir()) for name in options.sets}
    pictures = {file: np.load(file) for files in sets.values() for file in files}
    enlarge = PEERS[options.name].open(options.clones, list(pictures.values()))
    for file, picture in pictures.items():
        target = options.work / "results" / options.name / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, enlarge(picture))
    timed = [pictures[file] for file in sets[options.sets[0]]]
    return lambda: [enlarge(picture) for picture in timed], {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("work", type=Path, help="a folder with pictures/SET/*.npy, which gets results/NAME/SET/*.npy")
    parser.add_argument("clones", type=Path)
    parser.add_argument("sets", nargs="+", help="all are enlarged once, the first also in each round")
    options = parser.parse_args()
    serve(lambda: begin(options))


if __name__ == "__main__":
    main()
