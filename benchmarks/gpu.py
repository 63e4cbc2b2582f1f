"""Enlarging on a GPU: milliseconds, memory and precision of this network's ways, beside the authors' network.

python benchmarks/gpu.py --authors CLONE [--sizes 320x180 1920x1080] [--pictures LR [--references HR]] [--json FILE]

CLONE is a clone of the authors' repository; theirs runs eagerly in float32, as PyTorch is set by itself. All run in one
process and in turn, from a tensor on the GPU to another, and wait for the GPU; a network that runs out of memory is
reported as such. With pictures, float16 is compared with float32 on them, and with references, what either scores.
`--device cpu` shows, without a GPU, that all of it works.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from authors import authors_network
from torch import Tensor

from bgai import provenance
from bgai.benchmark.report import spread
from bgai.engines.cuda_network import CudaNetwork
from bgai.evaluation.metrics import psnr
from bgai.pictures.reading import read_rgb8
from bgai.weights.checkpoint import load_network
from bgai.weights.sources import Weights, find_weights

AUTHORS = "authors, eager float32"
BASE = "float32"
WAYS = {  # half precision, compiled
    BASE: (False, False),
    "float32, compiled": (False, True),
    "float16": (True, False),
    "float16, compiled": (True, True),
}
WARM_UP = 5  # more than are run before the launches are recorded
Network = Callable[[Tensor], Tensor]


def main() -> None:
    options = parse()
    weights = find_weights(options.weights, options.scale)
    result: dict[str, Any] = {
        "setting": {name: getattr(options, name) for name in ("device", "scale", "rounds")} | {"weights": weights.name},
        "commit": provenance.commit(),
        "machine": provenance.machine(),
        "versions": provenance.versions("torch", "triton"),
        "sizes": {size: measure(weights, size, options) for size in options.sizes},
    }
    if options.pictures:
        result["pictures"] = compare(weights, options)
    print(report(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--authors", type=Path, help="clone of the authors' repository")
    parser.add_argument("--weights", default="official", help="with --authors official, or a .pth file")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=4)
    parser.add_argument("--sizes", nargs="+", default=["320x180", "1920x1080"], help="of the low-resolution image")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--no-compile", action="store_true", help="leave out what takes minutes to compile")
    parser.add_argument("--pictures", type=Path, help="folder of low-resolution pictures")
    parser.add_argument("--references", type=Path, help="folder of high-resolution pictures of the same names")
    parser.add_argument("--json", type=Path, help="file for the result")
    return parser.parse_args()


def measure(weights: Weights, size: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each round, peak memory, and the difference from this network in float32, of each that fits."""
    width, height = map(int, size.split("x"))
    device = torch.device(options.device)
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)).to(device)
    torch.compiler.reset()  # or compiled code would serve all sizes
    networks: dict[str, Network] = {}
    found: dict[str, dict[str, Any]] = {}
    results: dict[str, Tensor] = {}
    for name, build in builders(weights, options).items():
        start = reset_peak(device)
        try:
            network = build()
            for _ in range(WARM_UP):
                result = network(image)
            results[name] = result.cpu()  # which waits for the device
        except torch.OutOfMemoryError:
            found[name] = {"failure": "out of memory"}
        else:
            networks[name] = network
            found[name] = {"peak_bytes": peak(device, start), "seconds": []}
        network = result = None  # type: ignore[assignment]
    for name, seconds in alternate(networks, image, options.rounds).items():
        found[name] |= {"seconds": seconds} if seconds else {"failure": "out of memory beside the others"}
    for name in results if BASE in results else ():
        found[name]["largest_difference"] = float((results[name] - results[BASE]).abs().max())
    return found


def builders(weights: Weights, options: argparse.Namespace) -> dict[str, Callable[[], Network]]:
    """What makes each network ready; theirs first, when nothing else takes memory."""
    device = torch.device(options.device)

    def ours(half: bool, compile: bool) -> Network:
        return CudaNetwork(load_network(weights.file, weights.key), device, half, compile)

    def theirs() -> Network:
        network = authors_network(options.authors, weights.file, options.scale).to(device)

        @torch.inference_mode()
        def run(x: Tensor) -> Tensor:
            result: Tensor = network(x)
            return result

        return run

    made: dict[str, Callable[[], Network]] = {AUTHORS: theirs} if options.authors else {}
    for name, (half, compile) in WAYS.items():
        if not (compile and options.no_compile):
            made[name] = lambda half=half, compile=compile: ours(half, compile)  # type: ignore[misc]
    return made


def alternate(networks: dict[str, Network], image: Tensor, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round; nothing for one that no longer fits beside the others."""
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for counts in [False] + [True] * rounds:
        for name in list(seconds):
            try:
                taken = timed(networks[name], image)
            except torch.OutOfMemoryError:
                seconds[name] = []
                networks = {other: network for other, network in networks.items() if other != name}
            else:
                seconds[name] += [taken] * counts
    return seconds


def timed(network: Network, image: Tensor) -> float:
    wait(image.device)
    start = time.perf_counter()
    network(image)
    wait(image.device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak(device: torch.device) -> int:
    """Give back what is kept for later, and return what is held."""
    if device.type != "cuda":
        return 0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def peak(device: torch.device, start: int) -> int | None:
    """Most bytes of tensors at a time since `reset_peak`; PyTorch counts none on a CPU."""
    return torch.cuda.max_memory_allocated(device) - start if device.type == "cuda" else None


def compare(weights: Weights, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """PSNR of float16 against float32 in decibels and, with references, of both against those, on luma."""
    device = torch.device(options.device)
    exact, half = (CudaNetwork(load_network(weights.file, weights.key), device, half) for half in (False, True))
    found = {}
    for path in sorted(options.pictures.iterdir()):
        lr = torch.from_numpy(read_rgb8(path)).permute(2, 0, 1)[None].float() / 255
        in_float32, in_float16 = (network(lr).cpu()[0].clamp(0, 1) for network in (exact, half))
        error = float((in_float16 - in_float32).double().square().mean())
        found[path.name] = {"float16_against_float32": -10 * math.log10(error)}
        if options.references:
            hr = read_rgb8(options.references / path.name)
            for name, sr in (("float32", in_float32), ("float16", in_float16)):
                pixels = (sr * 255).round().byte().permute(1, 2, 0).numpy()
                found[path.name][name] = psnr(pixels, hr[: len(pixels), : pixels.shape[1]], options.scale)
    return found


def report(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    setting = result["setting"]
    lines = []
    for size, found in result["sizes"].items():
        lines += [
            f"{size} at ×{setting['scale']} on {setting['device']}",
            "",
            "| | milliseconds, median (quartiles) | times as fast | peak MiB | part of it | differs by |",
            "|---|---|---|---|---|---|",
            *(row(name, one, found.get(AUTHORS, {})) for name, one in found.items()),
            "",
        ]
    for name, scores in result.get("pictures", {}).items():
        lines.append(f"{name}: " + ", ".join(f"{key} {value:.4f} dB" for key, value in scores.items()))
    lines += [f"Weights {setting['weights']}; commit {result['commit']}; {result['machine']}; {result['versions']}."]
    return "\n".join(lines)


def row(name: str, found: dict[str, Any], authors: dict[str, Any]) -> str:
    if "failure" in found:
        return f"| {name} | {found['failure']} | | | | |"
    speed = memory = part = ""
    if authors.get("seconds"):
        speed = f"{statistics.median(authors['seconds']) / statistics.median(found['seconds']):.2f}"
    if found["peak_bytes"] is not None:
        memory = f"{found['peak_bytes'] / 2**20:,.0f}"
        part = f"{found['peak_bytes'] / authors['peak_bytes']:.2f}" if "peak_bytes" in authors else ""
    differs = f"{found['largest_difference']:.1e}" if "largest_difference" in found else ""
    milliseconds = spread([1000 * seconds for seconds in found["seconds"]])
    return f"| {name} | {milliseconds} | {speed} | {memory} | {part} | {differs} |"


if __name__ == "__main__":
    main()
