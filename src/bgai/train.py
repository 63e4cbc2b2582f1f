"""Train a network from photographs: a minimal loop, planned for a given number of minutes.

Example:
    python -m bgai.train --photos PHOTOS --out runs/x4 --scale 4 --minutes 60
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bgai.config import NetworkConfig
from bgai.errors import ImageError
from bgai.image import read_rgb8
from bgai.metrics import psnr_y
from bgai.model import BGAI
from bgai.resize import imresize

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """One run. The learning rate follows the clock: it rises over `warmup` of `minutes`, then falls to zero."""

    photos: tuple[str, ...]
    out: str
    scale: int = 4
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


def load_pairs(folders: tuple[str, ...], scale: int, patch: int) -> list[Pair]:
    """Every image below the folders that holds at least one patch, with its bicubic low-resolution version."""
    paths = sorted(path for folder in folders for path in Path(folder).rglob("*.*"))

    def load(path: Path) -> Pair | None:
        try:
            hr = read_rgb8(path)
        except ImageError:
            return None
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


def batches(pairs: list[Pair], settings: TrainSettings, step: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless random patches, flipped and turned: B x 3 x p x p in [0, 1] and their B x 3 x sp x sp targets."""
    random = np.random.default_rng((settings.seed, step))
    area = np.array([lr.shape[0] * lr.shape[1] for lr, _ in pairs], float)
    while True:
        chosen = random.choice(len(pairs), settings.batch, p=area / area.sum())
        crops = [_crop(*pairs[index], settings, random) for index in chosen]
        lr, hr = (torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2).contiguous().float() / 255 for side in zip(*crops, strict=True))
        yield lr, hr


def _crop(lr: NDArray[np.uint8], hr: NDArray[np.uint8], settings: TrainSettings, random: np.random.Generator) -> Pair:
    p, s = settings.patch, settings.scale
    y, x = (int(random.integers(size - p + 1)) for size in lr.shape[:2])
    turns, mirror = int(random.integers(4)), bool(random.integers(2))
    crops = lr[y : y + p, x : x + p], hr[y * s : (y + p) * s, x * s : (x + p) * s]
    lr, hr = (np.rot90(crop[:, ::-1] if mirror else crop, turns) for crop in crops)
    return lr, hr


def start_from_interpolation(network: BGAI) -> None:
    """Set the first and last convolution so that an untrained network already interpolates bilinearly.

    The features' long skip connection carries the picture past all groups; a network that starts from an enlarged
    picture does not spend its first minutes on learning the mean colour.
    """
    s = network.config.scale
    offsets = (torch.arange(s) + 0.5) / s - 0.5  # of each output sample from its input pixel's centre
    taps = torch.stack([(1 - (offsets - tap).abs()).clamp(min=0) for tap in (-1, 0, 1)], dim=1)  # s, 3
    kernels = torch.einsum("ia,jb->ijab", taps, taps).reshape(s * s, 3, 3)
    with torch.no_grad():
        network.shallow.weight[:3] = 0
        network.shallow.bias[:3] = 0
        network.head.weight *= 0.1
        network.head.bias.zero_()
        for colour in range(3):
            network.shallow.weight[colour, colour, 1, 1] = 1
            network.head.weight[colour * s * s : (colour + 1) * s * s, :3] = 0
            network.head.weight[colour * s * s : (colour + 1) * s * s, colour] = kernels


def learning_rate(settings: TrainSettings, progress: float) -> float:
    """Linear warm-up, then a cosine to zero; progress runs from 0 to 1."""
    if progress < settings.warmup:
        return settings.learning_rate * max(progress / settings.warmup, 0.01)
    fall = min((progress - settings.warmup) / (1 - settings.warmup), 1)
    return settings.learning_rate * (1 + math.cos(math.pi * fall)) / 2


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


def train(settings: TrainSettings) -> None:
    """Train until the minutes are over, with a checkpoint every few minutes; a stopped run goes on where it was."""
    torch.manual_seed(settings.seed)
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    network = BGAI(NetworkConfig(settings.scale))
    start_from_interpolation(network)
    average = copy.deepcopy(network)
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate, fused=True)
    step, elapsed = 0, 0.0
    state_file = out / "state.pt"
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, elapsed = state["step"], state["elapsed"]
    pairs = load_pairs(settings.photos, settings.scale, settings.patch)
    print(f"{len(pairs)} images, {sum(hr.size for _, hr in pairs) / 3e6:.0f} megapixels", flush=True)
    source = batches(pairs, settings, step)
    last = saved = time.monotonic()
    losses = []
    limit = settings.minutes * 60
    while elapsed < limit:
        lr, hr = next(source)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(settings, elapsed / limit)
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
            loss = F.l1_loss(network(lr).float(), hr)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        decay = min(settings.ema, step / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
        losses.append(loss.item())
        now = time.monotonic()
        elapsed, last = elapsed + now - last, now
        if step % 100 == 0:
            print(json.dumps({"step": step, "minutes": round(elapsed / 60, 2), "loss": round(float(np.mean(losses)), 5)}), flush=True)
            losses.clear()
        if now - saved > 300 or elapsed >= limit:
            saved = now
            state = {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step,
                "elapsed": elapsed,
                "settings": asdict(settings),
            }
            torch.save(state, out / "state.new")
            os.replace(out / "state.new", state_file)
            if settings.validation:
                print(json.dumps({"step": step, "psnr_y": round(validate(average, settings.validation), 3)}), flush=True)
            last = time.monotonic()
