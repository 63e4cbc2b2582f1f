"""Commands that are killed or told to end at a random moment, and then run again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image
from support import save_repeating_graph, texture

from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI
from bgai.weights.checkpoint import save_network
from campaign.runner import FaultError, leftovers

_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_TINY = {"channels": 8, "broadcast_channels": 4, "local_channels": 2, "groups": 1, "blocks": 1}
_IN_COMMAND = re.compile(r'Traceback.*bgai/__main__\.py", line \d+, in main', re.DOTALL)
"""A traceback of the command; before it begins, Python itself starts, and prints one when it is interrupted."""
_SECONDS = 300.0


@dataclass(frozen=True)
class _Command:
    """A command, and what of the files that it leaves a killed run must not change."""

    arguments: tuple[str, ...]
    outputs: str
    """Pattern of the files."""
    content: Callable[[Path], Any]


class Kills:
    """The command is stopped once or twice, then run to its end: the outputs are those of a run that was not."""

    seconds = 4 * _SECONDS

    def __init__(self, folder: Path, command: _Command) -> None:
        self._inputs, self._command = folder / "inputs", command
        clean = folder / "clean"
        clean.mkdir()
        self._run(clean)  # fills the cache
        for path in clean.iterdir():
            subprocess.run(["rm", "-rf", str(path)], check=True)
        start = time.monotonic()
        self._run(clean)
        self._duration = time.monotonic() - start
        self._expected = self._outputs(clean)
        if not self._expected:
            raise FaultError(f"{command.arguments} leaves nothing")

    def attempt(self, random: Random, folder: Path) -> bool:
        signals = [random.choice(_SIGNALS) for _ in range(random.choice((1, 1, 2)))]
        for number in signals:
            self._stop(folder, number, random.uniform(0, 1.05) * self._duration)
        self.finish(folder, f"{signals}")
        return True

    def finish(self, folder: Path, before: str) -> None:
        """Run the command to its end after what happened before, and compare all that it leaves."""
        self._run(folder)
        if left := leftovers(folder):
            raise FaultError(f"after {before} and a run to the end there is still {left}")
        outputs = self._outputs(folder)
        if differing := [name for name in self._expected if outputs.get(name) != self._expected[name]]:
            raise FaultError(f"after {before} other outputs: {differing}")
        if more := sorted(outputs.keys() - self._expected.keys()):
            raise FaultError(f"after {before} more outputs: {more}")

    def wrong_outputs(self, folder: Path) -> list[str]:
        """Outputs that are there and are not those of an undisturbed run."""
        outputs = {name: content for name, content in self._outputs(folder).items() if ".bgai-" not in name}
        return [name for name, content in outputs.items() if content != self._expected.get(name)]

    def _stop(self, folder: Path, number: signal.Signals, delay: float) -> None:
        before = set(leftovers(folder))
        process = self.start(folder)
        try:
            messages = process.communicate(timeout=delay)[1]
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            messages = process.communicate(timeout=_SECONDS)[1]
        if _IN_COMMAND.search(messages):
            raise FaultError(f"{number.name} after {delay:.2f} s: {messages[-1500:]}")
        if process.returncode not in (0, 130, -number) and "Traceback" not in messages:
            raise FaultError(f"{number.name} after {delay:.2f} s: exit code {process.returncode}: {messages[-1500:]}")
        left = set(leftovers(folder)) - before  # of an earlier SIGKILL
        if left and process.returncode not in (-number, -signal.SIGKILL):
            raise FaultError(f"{number.name} after {delay:.2f} s leaves {left}")

    def _run(self, folder: Path) -> None:
        process = self.start(folder)
        messages = process.communicate(timeout=_SECONDS)[1]
        if process.returncode != 0 or "Traceback" in messages:
            raise FaultError(f"run to the end: exit code {process.returncode}: {messages[-1500:]}")

    def start(self, folder: Path, tracer: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Run the command in a folder, under the command of a tracer."""
        arguments = [argument.replace("INPUTS", str(self._inputs)) for argument in self._command.arguments]
        return subprocess.Popen(
            [*tracer, sys.executable, "-m", "bgai", *arguments],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=_hear_signals,
        )

    def _outputs(self, folder: Path) -> dict[str, Any]:
        paths = sorted(path for path in folder.glob(self._command.outputs) if path.is_file())
        return {str(path.relative_to(folder)): self._command.content(path) for path in paths}


def _hear_signals() -> None:
    """A shell in whose background the campaign runs has them ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _pictures(folder: Path, count: int, height: int = 70, width: int = 90) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(texture(height, width, seed=number)).save(folder / f"{number}.png")


def _options(folder: Path, values: dict[str, Any]) -> None:
    (folder / "options.yml").write_text(json.dumps(values))  # JSON is YAML


class Enlarging(Kills):
    """A folder of pictures is enlarged."""

    title = "kills and signals while enlarging a folder"

    def __init__(self, folder: Path) -> None:
        _pictures(folder / "inputs" / "in", 8, 300, 400)
        save_repeating_graph(folder / "inputs" / "twice.onnx", 0.0)
        arguments = ("upscale", "INPUTS/in", "-o", "out", "--weights", "INPUTS/twice.onnx", "--tile", "160")
        super().__init__(folder, _Command(arguments, "out/**/*", Path.read_bytes))


class Preparing(Kills):
    """Photographs are cut into sub-images and packed."""

    title = "kills and signals while preparing a data set"

    def __init__(self, folder: Path) -> None:
        _pictures(folder / "inputs" / "photos_HR", 8, 300, 400)
        arguments = ("prepare", "INPUTS/photos_HR", "-o", "out", "--scale", "2", "--crop", "96", "--step", "48")
        super().__init__(folder, _Command((*arguments, "--workers", "1"), "out/**/*.png", Path.read_bytes))


class Testing(Kills):
    """Weights are measured on a set of images."""

    title = "kills and signals while testing"

    def __init__(self, folder: Path) -> None:
        inputs = folder / "inputs"
        _pictures(inputs / "set", 6)
        save_network(BGAI(NetworkConfig(2, **_TINY)), inputs / "a.safetensors")
        values = {
            "name": "run",
            "scale": 2,
            "num_gpu": 0,
            "datasets": {"test_1": {"name": "S", "dataroot_gt": str(inputs / "set")}},
            "path": {"pretrain_network_g": str(inputs / "a.safetensors")},
            "val": {"save_img": True, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2}}},
        }
        _options(inputs, values)
        arguments = ("test", "-opt", "INPUTS/options.yml", "--engine", "openvino")
        super().__init__(folder, _Command(arguments, "results/run/**/*[gs]*.[pj]*", _without_times))


def _without_times(path: Path) -> Any:
    """Pictures, and the scores in `metrics.json`."""
    if path.suffix == ".png":
        return path.read_bytes()
    if path.name != "metrics.json":
        return None
    metrics = json.loads(path.read_text())
    return {name: {key: value for key, value in each.items() if key != "seconds"} for name, each in metrics.items()}


class Training(Kills):
    """A training, on one core, with a state every few iterations."""

    title = "kills and signals while training"

    def __init__(self, folder: Path) -> None:
        inputs = folder / "inputs"
        _pictures(inputs / "photos", 4)
        values = {
            "name": "run",
            "scale": 2,
            "num_gpu": 0,
            "network_g": _TINY,
            "datasets": {
                "train": {
                    "name": "photos",
                    "dataroot_gt": str(inputs / "photos"),
                    "gt_size": 32,
                    "batch_size_per_gpu": 2,
                    "in_memory": True,
                }
            },
            "train": {
                "optim_g": {"lr": 1e-3},
                "scheduler": {"type": "CosineAnnealingLR"},
                "total_iter": 40,
                "ema_decay": 0.9,
            },
            "logger": {"print_freq": 5, "save_checkpoint_freq": 5},
        }
        _options(inputs, values)
        arguments = ("train", "-opt", "INPUTS/options.yml", "--auto_resume")
        super().__init__(folder, _Command(arguments, "experiments/run/models/net_g_40.safetensors", _tensors))


def _tensors(path: Path) -> Any:
    from bgai.weights.reading import read_weights

    return {name: tensor.tobytes() for name, tensor in read_weights(path)[1].items()}
