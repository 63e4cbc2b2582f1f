"""Where a training from nothing begins: first weights of four kinds, each trained alike with several seeds.

python benchmarks/starts.py PHOTOGRAPHS SET [--scale 4] [--iterations 400] [--batch 4] [--seeds 3] [--only KIND …]

SET has HR images in HR_mod4 and LR images in X4 (or of the scale given). Patches are of 32 x 32 at low resolution. Each
training is a line of FOLDER/scores.jsonl with the PSNR of its averaged weights on SET, before and after, and is not
repeated when the command is started again; the table has the means over the seeds, and the lowest and highest.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI, Block, Group
from bgai.options.training import TrainOptions
from bgai.options.yaml_file import read_options
from bgai.training.initial_weights import start_from_interpolation
from bgai.training.log_files import read_records
from bgai.training.run import train
from bgai.weights.checkpoint import save_network

OPTION_FILE = Path(__file__).parents[1] / "options/train/BGAI/photographs_x4.yml"


def head_zeroed(network: BGAI) -> None:
    """PyTorch's weights, but that the untrained network gives the mean colour."""
    zero(network.head)


def body_disturbs(network: BGAI) -> None:
    """Both ends interpolate, but what the groups give is added to it from the first step on."""
    join = {name: tensor.clone() for name, tensor in network.refine.join.state_dict().items()}
    start_from_interpolation(network)
    network.refine.join.load_state_dict(join)


def residuals_zeroed(network: BGAI) -> None:
    """The network interpolates, and each group and block gives what it was given."""
    start_from_interpolation(network)
    for module in network.modules():
        if isinstance(module, Block):
            zero(module.project)
            zero(module.mlp.narrow)
        elif isinstance(module, Group):
            zero(module.fuse)


def zero(convolution: torch.nn.Conv2d) -> None:
    for parameter in convolution.parameters():
        torch.nn.init.zeros_(parameter)


STARTS: dict[str, Callable[[BGAI], None]] = {
    "interpolates": start_from_interpolation,
    "head zeroed": head_zeroed,
    "residuals zeroed": residuals_zeroed,
    "body disturbs": body_disturbs,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("set", type=Path)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--folder", type=Path, default=Path("starts"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("bgai").setLevel(logging.WARNING)
    results = options.folder / "scores.jsonl"
    settled = {"iterations": options.iterations, "batch": options.batch, "scale": options.scale}
    for seed in range(options.seeds):
        for kind in options.only:
            key = {"start": kind, "seed": seed, **settled}
            if not any(result.items() >= key.items() for result in read(results)):
                result = {**key, **measured(kind, seed, options)}
                with results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result) + "\n")
    done = [
        each for each in read(results) if (each["iterations"], each["scale"]) == (options.iterations, options.scale)
    ]
    print(table(done))


def read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()] if results.exists() else []


def measured(kind: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train from one start; the scores before and after, and the seconds of CPU time that it took."""
    torch.manual_seed(seed)
    network = BGAI(NetworkConfig(options.scale))
    STARTS[kind](network)
    name = f"{kind.replace(' ', '_')}_X{options.scale}_{options.iterations}_{options.batch}_{seed}"
    weights = options.folder / f"{name}.safetensors"
    save_network(network, weights, {})
    started = time.process_time()
    train(settings(name, seed, weights, options), root=options.folder)
    seconds = time.process_time() - started
    records = read_records(options.folder / name / "log.jsonl")
    untrained, psnr = (record["validation"]["set"]["psnr"] for record in records if "validation" in record)
    return {"untrained": untrained, "psnr": psnr, "cpu": round(seconds, 1)}


def settings(name: str, seed: int, weights: Path, options: argparse.Namespace) -> TrainOptions:
    scale, test = options.scale, {"name": "set", "dataroot_gt": f"{options.set}/HR_mod{options.scale}"}
    overrides = {
        "name": name,
        "scale": scale,
        "manual_seed": seed,
        "num_gpu": 0,
        "path:pretrain_network_g": str(weights),
        "datasets:train:dataroot_gt": str(options.photographs),
        "datasets:train:gt_size": 32 * scale,
        "datasets:train:batch_size_per_gpu": options.batch,
        "datasets:val": {**test, "dataroot_lq": f"{options.set}/X{scale}"},
        "train:minutes": None,
        "train:total_iter": options.iterations,
        "train:optim_g:lr": 1e-3,
        "val:val_freq": options.iterations,
        "logger:save_checkpoint_freq": options.iterations,
    }
    return read_options(OPTION_FILE, TrainOptions, [f"{key}={json.dumps(value)}" for key, value in overrides.items()])


def table(results: Sequence[dict[str, Any]]) -> str:
    lines = ["| start | seeds | untrained | trained |", "|---|---|---|---|"]
    for kind in STARTS:
        if runs := [result for result in results if result["start"] == kind]:
            cells = [spread([run[column] for run in runs]) for column in ("untrained", "psnr")]
            lines.append(f"| {kind} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
