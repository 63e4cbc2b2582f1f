"""One training step of this network against the authors' implementation: seconds, images per second and memory.

python benchmarks/training.py --authors CLONE [--precision half] [--compile] [--device cuda] [--json FILE]

CLONE is a clone of the authors' repository; theirs runs eagerly. A step is forward, L1 loss, backward and Adam. Each
runs in its own process, so that its peak memory is its own; both start from the same weights, take the same batches and
step in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from authors import authors_class
from progress import show
from torch import Tensor, nn

from bgai import provenance
from bgai.benchmark.rounds import compare
from bgai.benchmark.worker import Facts, Run, serve
from bgai.network.fused_attention import fuse
from bgai.weights.checkpoint import load_network

NETWORKS = ("authors", "bgai")
CHECKED_STEPS = 5


def main() -> None:
    options = parse()
    if options.network:
        return serve(lambda: begin(options))
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder) / "start.pth", options)
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return None


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--authors", type=Path, required=True, help="clone of the authors' repository")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--precision", choices=("float32", "half"), default="float32", help="half: bfloat16 by autocast"
    )
    parser.add_argument("--compile", action="store_true", help="compile this network; theirs stays eager")
    parser.add_argument(
        "--fused",
        action=argparse.BooleanOptionalAction,
        help="whether this network attends without stored maps; left out, on CUDA, as a training does",
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patch", type=int, default=32, help="side of the low-resolution patches")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--network", choices=NETWORKS, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fused is None:
        options.fused = options.device == "cuda"
    return options


def measure(weights: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Check that both networks learn alike, which warms them up, then time them in turn."""
    command = [sys.executable, *sys.argv, "--weights", str(weights), "--network"]
    # The authors' process starts first, and writes the weights that both start from.
    comparison = compare("a step", {name: [*command, name] for name in NETWORKS}, rounds=options.rounds, progress=show)
    for result in comparison.results:
        if result.error:
            sys.exit(f"{result.name}: {result.error}")
    losses = {result.name: json.loads(result.facts["losses"]) for result in comparison.results}
    return {
        "setting": {
            name: getattr(options, name)
            for name in ("device", "precision", "compile", "fused", "batch", "patch", "scale")
        },
        "commit": provenance.commit(),
        "machine": provenance.machine(),
        "versions": provenance.versions("torch"),
        "seconds": {result.name: result.seconds for result in comparison.results},
        "processor_seconds": {result.name: result.cpu_seconds for result in comparison.results},
        "peak_mebibytes": {result.name: result.peak_bytes / 2**20 for result in comparison.results},
        "losses": losses,
        "largest_loss_difference": max(abs(ours - theirs) for ours, theirs in zip(*losses.values(), strict=True)),
    }


def table(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    setting = result["setting"]
    base, processor_base = (statistics.median(result[key]["authors"]) for key in ("seconds", "processor_seconds"))
    ways = [setting["device"]]
    ways += ["bgai without stored maps"] if setting["fused"] else []
    ways += ["bgai compiled"] if setting["compile"] else []
    lines = [
        f"×{setting['scale']}, {setting['batch']} patches of {setting['patch']} x {setting['patch']}, "
        f"{setting['precision']}, {', '.join(ways)}",
        "",
        "| | s/step, median (quartiles) | times as fast | by processor time | images/s | peak memory, MiB |",
        "|---|---|---|---|---|---|",
    ]
    for name, seconds in result["seconds"].items():
        low, median, high = statistics.quantiles(seconds, method="inclusive")
        images, memory = setting["batch"] / median, result["peak_mebibytes"][name]
        processor = processor_base / statistics.median(result["processor_seconds"][name])
        lines.append(
            f"| {name} | {median:.3f} ({low:.3f} to {high:.3f}) | {base / median:.2f} | {processor:.2f} | {images:.1f}"
            f" | {memory:.0f} |"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"Largest difference of the loss over {CHECKED_STEPS} steps: {result['largest_loss_difference']:.1e}.",
            f"Commit {result['commit']}; {result['machine']}; {result['versions']}; {len(result['seconds']['bgai'])}"
            " alternating rounds.",
        ]
    )


def begin(options: argparse.Namespace) -> tuple[Run, Facts]:
    """Load one network, and take the steps that are compared."""
    torch.manual_seed(0)
    network = open_authors(options) if options.network == "authors" else open_ours(options)
    step = stepper(network, options)
    losses = [step() for _ in range(CHECKED_STEPS)]
    return step, {"device": options.device, "losses": json.dumps(losses)}


def open_authors(options: argparse.Namespace) -> nn.Module:
    """The authors' network with its own initial weights, which are saved for the other one."""
    network: nn.Module = authors_class(options.authors)(upscale_factor=options.scale)
    torch.save({"params": network.state_dict()}, options.weights)
    return network.to(options.device)


def open_ours(options: argparse.Namespace) -> nn.Module:
    network = load_network(options.weights, key="params").train().to(options.device)
    if options.fused:
        fuse(network)
    if options.compile:
        network.compile()
    return network


def stepper(network: nn.Module, options: argparse.Namespace) -> Callable[[], float]:
    """A function that fits the next batch and returns the loss before; it ends when the device has done so."""
    fused = options.network == "bgai"  # as each project's own trainer has it
    optimizer = torch.optim.Adam(network.parameters(), 1e-4, fused=fused or None)
    generator = torch.Generator().manual_seed(1)

    def patches(side: int) -> Tensor:
        return torch.rand(options.batch, 3, side, side, generator=generator).to(options.device)

    def step() -> float:
        lr, hr = patches(options.patch), patches(options.patch * options.scale)
        if options.network == "bgai":
            lr = lr.contiguous(memory_format=torch.channels_last)
        with torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "half"):
            sr = network(lr)
        loss = F.l1_loss(sr.float(), hr)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.item()

    return step


if __name__ == "__main__":
    main()
