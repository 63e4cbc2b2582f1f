"""Damaged files that the package wrote for itself: compiled graphs, records, states, LMDB stores."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image
from support import texture

from bgai.datasets import lmdb_store
from bgai.datasets.lmdb_store import LmdbImages, pack_lmdb
from bgai.engines.openvino_engine import OpenVinoEngine
from bgai.evaluation.result_folder import Measurement, Results
from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI
from bgai.pictures.reading import read_rgb8
from bgai.training.log_files import Journal, read_records
from bgai.training.run_folder import Experiment
from campaign.mutations import cut, damaged
from campaign.runner import FaultError


class GraphCaches:
    """One of the compiled graphs in the cache is damaged, cut short, empty, or another one."""

    title = "damaged compiled graphs in the cache"
    seconds = 120.0

    def __init__(self, folder: Path) -> None:
        self._config = NetworkConfig(2, channels=8, broadcast_channels=4, local_channels=2, groups=1, blocks=1)
        network = BGAI(self._config).eval()
        self._tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
        self._folder = folder
        self._tiles = np.random.default_rng(0).random((1, 3, 20, 24), np.float32)
        self._expected = self._open(folder)(self._tiles)
        (self._file,) = folder.glob("*.graph")
        self._content = self._file.read_bytes()

    def attempt(self, random: Random, folder: Path) -> bool:
        content = random.choice((damaged, damaged, damaged, cut, lambda content, _: content[:32] + content))(
            self._content, random
        )
        (folder / self._file.name).write_bytes(content)
        found = self._open(folder)(self._tiles)
        if not np.array_equal(found, self._expected):
            raise FaultError(f"wrong pixels, by up to {abs(found - self._expected).max():.3g}")
        if not random.randrange(5) and not np.array_equal(self._open(folder)(self._tiles), self._expected):
            raise FaultError("wrong pixels from the graph that was compiled anew")
        return content == self._content

    def _open(self, folder: Path) -> OpenVinoEngine:
        return OpenVinoEngine(self._config, self._tensors, folder)


class Records:
    """Lines of `log.jsonl` and `images.jsonl`, or the newest state of a training, are damaged."""

    title = "damaged records of trainings and tests, and newest states"
    seconds = 60.0

    def __init__(self, folder: Path) -> None:
        self._records = [{"iteration": number, "loss": 1 / number, "lr": 1e-3} for number in range(1, 30)]
        self._measured = [
            Measurement("Set", f"{number}", 0.1, 0.5, {"psnr": 30.0 + number}, 0.1, {"psnr": 28.0})
            for number in range(20)
        ]
        self._run = {"name": "run", "weights": "x"}

    def attempt(self, random: Random, folder: Path) -> bool:
        return random.choice((self._log, self._images, self._state))(random, folder)

    def _log(self, random: Random, folder: Path) -> bool:
        lines = [json.dumps(record).encode() for record in self._records]
        at = random.randrange(len(lines))
        lines[at] = damaged(lines[at], random).replace(b"\n", b" ")
        path = folder / "log.jsonl"
        path.write_bytes(b"\n".join(lines) + b"\n")
        kept = [record for number, record in enumerate(self._records) if number != at]
        if [record for record in read_records(path) if record in kept] != kept:
            raise FaultError("a damaged line of log.jsonl costs others")
        Journal(folder, 100).record(30, loss=0.1)
        if read_records(path)[-1]["iteration"] != 30:
            raise FaultError("a record behind a damaged line is lost")
        return True

    def _images(self, random: Random, folder: Path) -> bool:
        results = Results(folder, "run", self._run)
        results.begin()
        for measurement in self._measured:
            results.add(measurement)
        path = folder / "run" / "images.jsonl"
        lines = path.read_bytes().splitlines()
        at = random.randrange(len(lines))
        lines[at] = damaged(lines[at], random).replace(b"\n", b" ")
        path.write_bytes(b"\n".join(lines) + b"\n")
        again = Results(folder, "run", self._run)
        kept = [measured for number, measured in enumerate(self._measured, 1) if number != at]
        if at and [measured for measured in again.measurements if measured in kept] != kept:
            raise FaultError("a damaged line of images.jsonl costs others")
        again.begin()
        if again.measurements:
            again.summarise()
        return True

    def _state(self, random: Random, folder: Path) -> bool:
        experiment = Experiment(folder, "run")
        for iteration in (1, 2):
            experiment.save_state(iteration, {"iteration": iteration, "weights": torch.full((50,), iteration)})
        newest = experiment.states / "2.state"
        newest.write_bytes(damaged(newest.read_bytes(), random))
        complaints: list[str] = []
        state = experiment.newest_state(complaints.append)
        if (
            state is None
            or (state["weights"] != state["iteration"]).any()
            or (state["iteration"] == 1) != bool(complaints)
        ):
            raise FaultError(f"goes on from {state}, after {complaints}")
        return True


class LmdbStores:
    """Bytes of `data.mdb` or of the list beside it are damaged."""

    title = "damaged LMDB stores of sub-images"
    seconds = 60.0

    def __init__(self, folder: Path) -> None:
        (folder / "images").mkdir()
        for number in range(6):
            Image.fromarray(texture(20, 24, seed=number)).save(folder / "images" / f"{number}.png")
        self._store = folder / "a.lmdb"
        pack_lmdb(folder / "images", self._store)
        self._expected = {path.stem: read_rgb8(path) for path in (folder / "images").iterdir()}

    def attempt(self, random: Random, folder: Path) -> bool:
        store = folder / "a.lmdb"
        shutil.copytree(self._store, store)
        path = store / random.choice(("data.mdb", "data.mdb", "data.mdb", "meta_info.txt"))
        path.write_bytes(damaged(path.read_bytes(), random))
        try:
            images = LmdbImages(store)
            for key in images.keys:
                pixels = images.read(key)
                if path.name == "data.mdb" and not np.array_equal(pixels, self._expected[key]):
                    raise FaultError(f"other pixels for {key}")
        finally:
            for _, environment in lmdb_store._open_stores.values():
                with suppress(Exception):
                    environment.close()
            lmdb_store._open_stores.clear()
        return True
