"""Disks that are full, have a limit, or can only be read, at a random point of an output."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image
from support import filled_network, save_repeating_graph, texture

from bgai.datasets.sub_images import PrepareSettings, prepare
from bgai.errors import BgaiError
from bgai.evaluation.result_folder import Measurement, Results
from bgai.pictures.reading import read_rgb8
from bgai.training.run_folder import Experiment, load_state
from bgai.upscaling.files import upscale_file
from bgai.upscaling.upscaler import Upscaler
from bgai.weights.reading import read_weights
from bgai.weights.safetensors_file import write_weights
from campaign.runner import FaultError, leftovers

_NEW_MOUNTS = 0x20000  # CLONE_NEWNS of Linux
_SMALL = 600_000  # bytes of the small disk


class Disks:
    """Pictures, weights, states, sub-images and results are written where the file system refuses."""

    title = "full disks, limits of file size, folders that can only be read"
    seconds = 60.0

    def __init__(self, folder: Path) -> None:
        self._picture = folder / "a.png"
        Image.fromarray(texture(90, 120)).save(self._picture)
        save_repeating_graph(folder / "twice.onnx", 0.0)
        self._upscaler = Upscaler(weights=folder / "twice.onnx", engine="openvino")
        self._enlarged = self._upscaler.upscale(texture(90, 120))
        network = filled_network(2)
        self._config, self._tensors = network.config, {n: t.numpy() for n, t in network.state_dict().items()}
        self._small = folder / "small"
        self._small.mkdir()
        self._has_small = _mount_small(self._small)

    def attempt(self, random: Random, folder: Path) -> bool:
        faults = [_limited, _read_only] + [self._on_small_disk] * 2 * self._has_small
        write = random.choice((self._enlarge, self._enlarge, self._weights, self._state, self._results, self._prepare))
        with random.choice(faults)(folder, random) as place:
            try:
                write(place)
                accepted = True
            except BgaiError:
                accepted = False
        if left := leftovers(folder):
            raise FaultError(f"{write.__name__} leaves {left}")
        self._look_at_outputs(folder)
        return accepted

    def _enlarge(self, place: Path) -> None:
        suffix = (".png", ".tif")[len(str(place)) % 2]
        upscale_file(self._picture, place / f"big{suffix}", upscaler=self._upscaler)

    def _weights(self, place: Path) -> None:
        write_weights(self._config, self._tensors, place / "a.safetensors")

    def _state(self, place: Path) -> None:
        experiment = Experiment(place, "run")
        for iteration in range(3):
            experiment.save_state(iteration, {"iteration": iteration, "weights": torch.ones(10_000)})

    def _results(self, place: Path) -> None:
        results = Results(place, "run", {"name": "run"})
        results.begin()
        for number in range(200):
            results.add(Measurement("Set", f"{number}", 0.1, 0.5, {"psnr": 30.0}, 0.1, {"psnr": 28.0}))
        results.summarise()

    def _prepare(self, place: Path) -> None:
        settings = PrepareSettings(self._picture.parent, (2,), None, place / "sub", 48, 24, workers=1, lmdb=False)
        if failures := prepare(settings).failures:
            raise failures[0]

    def _look_at_outputs(self, folder: Path) -> None:
        """What has a name is whole."""
        for path in folder.rglob("*"):
            if path.name.startswith("big") and not np.array_equal(read_rgb8(path), self._enlarged):
                raise FaultError(f"{path.name} has wrong pixels")
            if path.suffix == ".png" and not path.name.startswith("."):
                read_rgb8(path)
            if path.suffix == ".safetensors":
                read_weights(path)
            if path.suffix == ".state":
                load_state(path)

    @contextmanager
    def _on_small_disk(self, folder: Path, random: Random) -> Iterator[Path]:
        """A disk on which little is left, which is emptied afterwards."""
        place = self._small / folder.name
        place.mkdir()
        (self._small / "filler").write_bytes(bytes(random.randrange(_SMALL)))
        try:
            yield place
        finally:
            (self._small / "filler").unlink()
            shutil.copytree(place, folder / "found")
            shutil.rmtree(place)


@contextmanager
def _limited(folder: Path, random: Random) -> Iterator[Path]:
    """No file may be larger than a limit."""
    place = folder / "out"
    place.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(10 ** random.uniform(0, 6.2)), hard))
    try:
        yield place
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def _read_only(folder: Path, random: Random) -> Iterator[Path]:
    """A folder that may only be read; for root, who may do all, a file in its place."""
    place = folder / "out"
    if os.geteuid() == 0:
        place.write_bytes(b"")
        yield place
        return
    place.mkdir(mode=0o555)
    try:
        yield place
    finally:
        place.chmod(0o755)


def _mount_small(place: Path) -> bool:
    """Mount a small disk in memory, which goes away with this process; for root on Linux alone."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    if ctypes.CDLL(None).unshare(_NEW_MOUNTS) != 0:
        return False
    commands: tuple[list[str], ...] = (
        ["mount", "--make-rprivate", "/"],
        ["mount", "-t", "tmpfs", "-o", f"size={_SMALL}", "tmpfs", str(place)],
    )
    return all(subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in commands)
