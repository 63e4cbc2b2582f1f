"""Train a network from photographs: a minimal loop, planned for a given number of minutes.

python -m bgai.train --photos PHOTOS --out runs/x4 --scale 4 --minutes 60
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bgai import __version__
from bgai.checkpoint import load_network, save_network
from bgai.config import NetworkConfig
from bgai.errors import BgaiError, ImageError, UsageError, WeightsError
from bgai.files import whole_or_nothing
from bgai.image import INPUT_SUFFIXES, read_rgb8
from bgai.metrics import psnr_y
from bgai.model import BGAI
from bgai.resize import imresize

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """One run. The learning rate follows the clock: it rises for `warmup` of the minutes, then falls to zero."""

    photos: tuple[str, ...]
    out: str
    scale: int = 4
    start: str | None = None
    """Checkpoint of any scale to start from; None starts from interpolation."""
    minutes: float = 60
    batch: int = 8
    patch: int = 32
    """Side of the low-resolution patches in pixels."""
    learning_rate: float = 1e-3
    warmup: float = 0.03
    ema: float = 0.999
    seed: int = 0
    bfloat16: bool = False
    validation: str | None = None
    """Folder of full-size images on which PSNR-Y is logged; never trained on."""
    checkpoint_minutes: float = 5

    def __post_init__(self) -> None:
        NetworkConfig(self.scale)  # refuses unknown scales
        for name in ("minutes", "batch", "patch", "learning_rate", "checkpoint_minutes"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} {getattr(self, name)}: expected more than 0")


class Run:
    """The network in training with all that a stopped run needs to go on."""

    def __init__(self, settings: TrainSettings) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.network = BGAI(NetworkConfig(settings.scale))
        if settings.start is None:
            start_from_interpolation(self.network)
        else:
            start_from_network(self.network, load_network(settings.start))
        self.average = copy.deepcopy(self.network).eval()
        self.optimiser = torch.optim.Adam(self.network.parameters(), settings.learning_rate, fused=True)
        self.step = 0
        self.seconds = 0.0
        self.state_file = Path(settings.out) / "state.pt"
        if self.state_file.exists():
            self._restore()

    @property
    def progress(self) -> float:
        """Part of the planned time that is over, 0 to 1."""
        return min(self.seconds / (self.settings.minutes * 60), 1)

    def take_step(self, lr: Tensor, hr: Tensor) -> float:
        """Fit one batch, B x 3 x p x p and its B x 3 x sp x sp target, and return the L1 loss before the step."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.settings, self.progress)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.bfloat16):
            sr = self.network(lr)
        loss = F.l1_loss(sr.float(), hr)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        self.optimiser.step()
        self.step += 1
        # A short memory at first: the average must not hold on to the untrained network.
        decay = min(self.settings.ema, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)
        value = loss.item()
        if not math.isfinite(value):
            raise BgaiError(f"loss {value} at step {self.step}: lower --learning-rate; the last good state is kept")
        return value

    def save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        with whole_or_nothing(self.state_file) as partial:
            torch.save(state, partial)

    def _restore(self) -> None:
        try:
            state = torch.load(self.state_file, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
        except Exception:  # a damaged pickle makes its reader raise anything
            raise WeightsError(f"{self.state_file}: not the state of such a run; choose another --out") from None
        self.step, self.seconds = state["step"], state["seconds"]


def train(settings: TrainSettings) -> Path:
    """Train until the minutes are over, with a checkpoint every few; a stopped run goes on where it was.

    Returns:
        The safetensors file with the averaged weights.

    Raises:
        ImageError: No photograph is large enough for one patch.
        BgaiError: The loss is no longer finite.
    """
    run = Run(settings)
    pairs = load_pairs(settings.photos, settings.scale, settings.patch)
    megapixels = sum(hr.size for _, hr in pairs) / 3e6
    print(f"{len(pairs)} images, {megapixels:.0f} megapixels", flush=True)
    source = batches(pairs, settings, run.step)
    losses: list[float] = []
    last = time.monotonic()
    next_save = run.seconds + settings.checkpoint_minutes * 60
    while run.progress < 1:
        losses.append(run.take_step(*next(source)))
        now = time.monotonic()
        run.seconds, last = run.seconds + now - last, now
        if run.step % 100 == 0:
            _log(step=run.step, minutes=round(run.seconds / 60, 2), loss=round(float(np.mean(losses)), 5))
            losses.clear()
        if run.seconds >= next_save or run.progress == 1:
            run.save()
            if settings.validation and run.progress < 1:
                _log(step=run.step, psnr_y=round(validate(run.average, settings.validation), 3))
            last = time.monotonic()
            next_save = run.seconds + settings.checkpoint_minutes * 60
    psnr = validate(run.average, settings.validation) if settings.validation else None
    target = Path(settings.out) / f"bgai_x{settings.scale}.safetensors"
    save_network(run.average, target, describe(run, len(pairs), megapixels, psnr))
    return target


def describe(run: Run, images: int, megapixels: float, psnr: float | None) -> dict[str, str]:
    """What the weights say of their own making."""
    return {
        "commit": _commit(),
        "data": f"{images} photographs, {megapixels:.0f} megapixels",
        "iterations": str(run.step),
        "minutes": f"{run.seconds / 60:.1f}",
        "psnr_y": "not measured" if psnr is None else f"{psnr:.3f}",
        "settings": json.dumps(
            {name: value for name, value in asdict(run.settings).items() if name not in ("photos", "out", "validation")}
        ),
        "versions": f"bgai {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }


def _commit() -> str:
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except OSError:  # no git
        return "unknown"
    return result.stdout.strip() or "unknown"


def start_from_interpolation(network: BGAI) -> None:
    """Set the first and last convolution so that an untrained network already interpolates bilinearly.

    The features' long skip connection carries the picture past all groups; a network that starts from an enlarged
    picture does not spend its first minutes on learning the mean colour.
    """
    s = network.config.scale
    offsets = (torch.arange(s) + 0.5) / s - 0.5  # of each output sample from its input pixel's centre
    taps = torch.stack([(1 - (offsets - tap).abs()).clamp(min=0) for tap in (-1, 0, 1)], dim=1)  # s, 3
    kernels = torch.einsum("ia,jb->ijab", taps, taps).reshape(s * s, 3, 3)
    shallow, head = network.shallow, network.head
    assert shallow.bias is not None
    assert head.bias is not None
    with torch.no_grad():
        shallow.weight[:3] = 0
        shallow.bias[:3] = 0
        head.weight *= 0.1
        head.bias.zero_()
        for colour in range(3):
            shallow.weight[colour, colour, 1, 1] = 1
            subpixels = slice(colour * s * s, (colour + 1) * s * s)
            head.weight[subpixels, :3] = 0
            head.weight[subpixels, colour] = kernels


def start_from_network(network: BGAI, other: BGAI) -> None:
    """Take over the weights of a network of any scale: the body as it is, the head's subpixels resampled."""
    s = network.config.scale
    tensors = other.state_dict()
    for name in ("head.weight", "head.bias"):
        tensor = tensors[name].unflatten(0, (3, other.config.scale, -1))  # 3, s', s', ...
        grid = tensor.flatten(3).movedim(-1, 0) if tensor.ndim > 3 else tensor[None]  # ..., 3, s', s'
        resampled = F.interpolate(grid, (s, s), mode="bilinear", align_corners=False)
        tensors[name] = resampled.movedim(0, -1).reshape(3 * s * s, *tensors[name].shape[1:])
    network.load_state_dict(tensors)


def learning_rate(settings: TrainSettings, progress: float) -> float:
    """Linear warm-up, then a cosine to zero; progress runs from 0 to 1."""
    if progress < settings.warmup:
        return settings.learning_rate * max(progress / settings.warmup, 0.01)
    fall = (progress - settings.warmup) / (1 - settings.warmup)
    return settings.learning_rate * (1 + math.cos(math.pi * fall)) / 2


def load_pairs(folders: Sequence[str], scale: int, patch: int) -> list[Pair]:
    """Every photograph below the folders that holds at least one patch, with its bicubic low-resolution version."""
    paths = sorted(
        path for folder in folders for path in Path(folder).rglob("*") if path.suffix.lower() in INPUT_SUFFIXES
    )

    def load(path: Path) -> Pair | None:
        hr = read_rgb8(path)
        height, width = (size // scale * scale for size in hr.shape[:2])
        if min(height, width) < patch * scale:
            return None
        hr = np.ascontiguousarray(hr[:height, :width])
        return imresize(hr, 1 / scale), hr

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pairs = [pair for pair in pool.map(load, paths) if pair]
    if not pairs:
        raise ImageError(f"{', '.join(folders)}: expected images of at least {patch * scale} pixels a side, found none")
    return pairs


def batches(pairs: Sequence[Pair], settings: TrainSettings, step: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless random patches, flipped and turned: B x 3 x p x p in [0, 1] and their B x 3 x sp x sp targets."""
    random = np.random.default_rng((settings.seed, step))
    area = np.array([lr.shape[0] * lr.shape[1] for lr, _ in pairs], float)
    while True:
        chosen = random.choice(len(pairs), settings.batch, p=area / area.sum())
        crops = [_crop(pairs[index], settings, random) for index in chosen]
        lr, hr = (torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2) for side in zip(*crops, strict=True))
        # The network's convolutions and their gradients are faster in channels-last.
        yield lr.contiguous(memory_format=torch.channels_last).float() / 255, hr.contiguous().float() / 255


def _crop(pair: Pair, settings: TrainSettings, random: np.random.Generator) -> Pair:
    lr, hr = pair
    p, s = settings.patch, settings.scale
    y, x = (int(random.integers(size - p + 1)) for size in lr.shape[:2])
    turns, mirror = int(random.integers(4)), bool(random.integers(2))
    crops = lr[y : y + p, x : x + p], hr[y * s : (y + p) * s, x * s : (x + p) * s]
    lr, hr = (np.rot90(crop[:, ::-1] if mirror else crop, turns) for crop in crops)
    return lr, hr


@torch.inference_mode()
def validate(network: BGAI, folder: str) -> float:
    """Mean PSNR-Y in dB over the images of a folder, each shrunk and enlarged again."""
    scale = network.config.scale
    values = []
    for path in sorted(Path(folder).iterdir()):
        hr = read_rgb8(path)
        hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        lr = torch.from_numpy(imresize(hr, 1 / scale)).permute(2, 0, 1)[None].float() / 255
        sr = network(lr)[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        values.append(psnr_y(sr, hr, border=scale))
    return float(np.mean(values))


def _log(**values: float) -> None:
    print(json.dumps(values), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bgai.train", description="Train a network from photographs.")
    defaults = TrainSettings(photos=(), out="")
    parser.add_argument("--photos", nargs="+", required=True, help="folders of photographs")
    parser.add_argument("--out", required=True, help="folder of the run; an earlier state there is continued")
    parser.add_argument("--validation", help="folder of images to log PSNR-Y on")
    parser.add_argument("--start", help="checkpoint of any scale to start from")
    for name in ("scale", "batch", "patch", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name))
    for name in ("minutes", "learning_rate", "warmup", "ema", "checkpoint_minutes"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(defaults, name))
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16")
    options = vars(parser.parse_args())
    try:
        print(train(TrainSettings(**{**options, "photos": tuple(options["photos"])})))
    except BgaiError as error:
        parser.exit(1, f"bgai.train: {error}\n")


if __name__ == "__main__":
    main()
