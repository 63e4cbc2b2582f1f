"""Faults of a cluster of several nodes on this machine: `python scenarios.py NAME FOLDER`, in a network of its own.

Each scenario ends with what one machine makes of the same pictures, and compares it byte by byte.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from storage_support import BUCKET, keys, s3_server
from support import texture

from bgai.cluster import enlarging
from bgai.cluster.enlarging import Opening, enlarge_on_cluster
from bgai.cluster.picture import Outcome, enlarge_picture
from bgai.cluster.pool import Pool
from bgai.pictures.writing import save_rgb_png
from bgai.remote_files import parse_path
from bgai.upscaling.batch import NamedPicture, OutputSettings, name_outputs
from bgai.upscaling.pixels import Image
from bgai.upscaling.upscaler import Upscaler

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

COUNT = 8
MANY = 200
"""Pictures that a command is not done with before it gets a signal."""
_MEMORY = 4 * 2**30  # of each node, for Ray to plan with
_ODD_WIDTH = 31  # of the picture that has a fault


@dataclass(frozen=True)
class FaultyOpening(Opening):
    """Opens an upscaler that calls `fault` before each picture, with the picture's width."""

    fault: Callable[[int], None] = lambda width: None

    def open(self, wrap: object = None) -> Upscaler:
        fault = self.fault

        class Faulty(Upscaler):
            def strips(self, image: Image, *arguments: Any, **named: Any) -> Generator[Image, None, None]:
                fault(image.shape[1])
                yield from super().strips(image, *arguments, **named)

        return Faulty(2, "bgai")


class Gate:
    """Holds all pictures but the first until it is opened, so that a fault comes while there is work."""

    def __init__(self, folder: Path) -> None:
        self._first, self._open = folder / "first", folder / "open"

    def __call__(self, width: int) -> None:
        try:
            self._first.touch(exist_ok=False)
        except FileExistsError:
            while not self._open.exists():
                time.sleep(0.05)

    def open(self) -> None:
        self._open.touch()


@contextmanager
def nodes(count: int) -> Iterator[Cluster]:
    """A cluster of nodes of one core each, and a head without."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    common = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **common})
    try:
        for _ in range(count):
            cluster.add_node(num_cpus=1, memory=_MEMORY, object_store_memory=80 * 2**20)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


class Work:
    """Pictures in a folder, and the outputs that one machine makes of them."""

    def __init__(self, folder: Path, count: int = COUNT, odd: bool = False) -> None:
        self.count = count
        self.source, self.out, self.expected = folder / "in", folder / "out", folder / "expected"
        self.source.mkdir()
        random = np.random.default_rng(0)
        for number in range(count):
            width = _ODD_WIDTH if odd and number == 1 else 40
            save_rgb_png(self.source / f"{number}.png", random.integers(0, 256, (48, width, 3), np.uint8))

    def pictures(self, out: Path | None = None) -> list[NamedPicture]:
        return name_outputs([self.source], 2, OutputSettings(out or self.out))[0]

    def run(self, cluster: Cluster, opening: Opening) -> Iterator[Outcome]:
        return enlarge_on_cluster(self.pictures(), opening, OutputSettings(self.out), Pool(cluster.address))

    def command(self, cluster: Cluster) -> list[str]:
        command = [sys.executable, "-m", "bgai", "upscale", str(self.source), "-o", str(self.out)]
        return [*command, "--scale", "2", "--weights", "bgai", "--cluster", cluster.address]

    def check(self, outcomes: list[Outcome], failed: int = 0, finished: int = 0) -> None:
        """Each picture has one outcome, and each output is that of one machine."""
        assert sorted(outcome.source for outcome in outcomes) == sorted(str(each) for each in self.source.iterdir())
        states = [outcome.state for outcome in outcomes]
        assert states.count("failed") == failed, outcomes
        assert states.count("finished") <= finished, outcomes
        bad = {Path(outcome.target).name for outcome in outcomes if outcome.state == "failed"}
        self.compare(bad)

    def compare(self, bad: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        upscaler = Opening(2, "bgai").open()
        for picture in self.pictures(self.expected):
            enlarge_picture(picture, upscaler, OutputSettings(self.expected))
        expected = {path.name: path.read_bytes() for path in self.expected.glob("*.png") if path.name not in bad}
        assert {path.name: path.read_bytes() for path in self.out.glob("*.png")} == expected


def _workers() -> list[psutil.Process]:
    """Processes of the pool that are there now."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "MapWorker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def undisturbed(folder: Path) -> None:
    """All processors work at the same time: the first pictures wait for each other."""
    work = Work(folder)
    (work.source / "broken.png").write_text("no picture")
    marker = folder / "processes"
    marker.mkdir()

    def fault(width: int) -> None:
        (marker / str(os.getpid())).touch()
        end = time.monotonic() + 600
        while len(list(marker.iterdir())) < 3:
            if time.monotonic() > end:
                raise TimeoutError("no other process works")
            time.sleep(0.05)

    with nodes(3) as cluster:
        outcomes = list(work.run(cluster, FaultyOpening(fault=fault)))
    work.check(outcomes, failed=1)
    (bad,) = [outcome for outcome in outcomes if outcome.state == "failed"]
    assert bad.error.startswith(f"{work.source / 'broken.png'}: not a picture"), bad


def node_killed(folder: Path) -> None:
    """A block that was done but not told of is found finished when it is tried again."""
    work, gate = Work(folder), Gate(folder)
    with nodes(2) as cluster:
        running = work.run(cluster, FaultyOpening(fault=gate))
        outcomes = [next(running)]
        lost = next(node for node in cluster.worker_nodes if _has_worker(node))
        cluster.remove_node(lost, allow_graceful=False)
        gate.open()
        outcomes += running
    work.check(outcomes, finished=1)


def _has_worker(node: Any) -> bool:
    raylet = node.all_processes["raylet"][0].process
    inner = {child.pid for child in psutil.Process(raylet.pid).children(recursive=True)}
    return any(worker.pid in inner for worker in _workers())


def only_node_replaced(folder: Path) -> None:
    """The pool waits for a machine when the last one has gone."""
    work, gate = Work(folder), Gate(folder)
    with nodes(1) as cluster:
        running = work.run(cluster, FaultyOpening(fault=gate))
        outcomes = [next(running)]
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
        cluster.add_node(num_cpus=1, memory=_MEMORY, object_store_memory=80 * 2**20)
        gate.open()
        outcomes += running
    work.check(outcomes, finished=1)


def worker_killed(folder: Path) -> None:
    work, gate = Work(folder), Gate(folder)
    with nodes(2) as cluster:
        running = work.run(cluster, FaultyOpening(fault=gate))
        outcomes = [next(running)]
        _workers()[0].kill()
        gate.open()
        outcomes += running
    work.check(outcomes, finished=1)


def slow_node(folder: Path) -> None:
    """A slow node keeps none of the pictures that another one could do."""
    work = Work(folder)
    marker = folder / "nodes"
    marker.mkdir()

    def fault(width: int) -> None:
        import ray

        here = ray.get_runtime_context().get_node_id()
        (marker / here).touch()
        if min(path.name for path in marker.iterdir()) == here:
            time.sleep(5)

    with nodes(2) as cluster:
        outcomes = list(work.run(cluster, FaultyOpening(fault=fault)))
    work.check(outcomes)


def process_ended_by_picture(folder: Path) -> None:
    """As by the system's out-of-memory killer, each time that the picture is tried."""
    work = Work(folder, odd=True)

    def fault(width: int) -> None:
        if width == _ODD_WIDTH:
            os.kill(os.getpid(), signal.SIGKILL)

    with nodes(2) as cluster:
        outcomes = list(work.run(cluster, FaultyOpening(fault=fault)))
    work.check(outcomes, failed=1)
    (bad,) = [outcome for outcome in outcomes if outcome.state == "failed"]
    assert "its process ended each time, 6 times in all" in bad.error, bad


def out_of_memory(folder: Path) -> None:
    work = Work(folder, odd=True)

    def fault(width: int) -> None:
        if width == _ODD_WIDTH:
            bytearray(2**50)

    with nodes(1) as cluster:
        outcomes = list(work.run(cluster, FaultyOpening(fault=fault)))
    work.check(outcomes, failed=1)
    (bad,) = [outcome for outcome in outcomes if outcome.state == "failed"]
    assert bad.error == f"{work.source / '1.png'}: not enough memory; set a smaller tile", bad


def driver_killed(folder: Path) -> None:
    """The same command goes on, and makes nothing anew."""
    work = Work(folder, MANY)
    with nodes(1) as cluster:
        command = work.command(cluster)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
            assert driver.stdout
            driver.stdout.readline()
            driver.kill()
        before = {path.name: path.stat().st_mtime_ns for path in work.out.glob("*.png")}
        assert before
        again = subprocess.run(command, capture_output=True, text=True, check=True)
        after = {path.name: path.stat().st_mtime_ns for path in work.out.glob("*.png")}
    assert before.items() <= after.items()
    assert again.stderr.splitlines()[-1].endswith("finished before"), again.stderr
    assert len(again.stderr.splitlines()) == 1, again.stderr
    work.compare()


def driver_interrupted(folder: Path) -> None:
    work = Work(folder, MANY)
    with nodes(1) as cluster:
        command = work.command(cluster)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
            assert driver.stdout
            driver.stdout.readline()
            driver.send_signal(signal.SIGTERM)
            _, messages = driver.communicate()
        assert driver.returncode == 130, (driver.returncode, messages)
        assert messages == "bgai: stopped; what was finished is kept\n", messages


def messages(folder: Path) -> None:
    """Ray prints nothing between ours, whatever happens."""
    work = Work(folder, MANY)
    with nodes(2) as cluster:
        command = work.command(cluster)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
            assert driver.stdout
            first = driver.stdout.readline()
            _workers()[0].kill()
            rest, errors = driver.communicate()
        names = {path.removesuffix("\n") for path in (first, *rest.splitlines())}
    assert names <= {str(work.out / f"{number}.png") for number in range(MANY)}, (first, rest)
    assert len(names) >= MANY - 1  # one may have been finished by the worker that was killed
    assert errors.startswith(f"{len(names)} enlarged"), errors
    assert len(errors.splitlines()) == 1, errors
    work.compare()


def s3_storage(folder: Path) -> None:
    """Pictures and outputs in S3, a worker killed in the middle: no part of an output is left."""
    with s3_server() as (client, environment):
        os.environ.update(environment)
        work, gate = Work(folder), Gate(folder)
        for file in work.source.iterdir():
            client.upload_file(str(file), BUCKET, f"in/{file.name}")
        source, target = parse_path(f"s3://{BUCKET}/in"), parse_path(f"s3://{BUCKET}/out")
        settings = OutputSettings(target)
        pictures, _ = name_outputs([source], 2, settings)
        with nodes(2) as cluster:
            running = enlarge_on_cluster(pictures, FaultyOpening(fault=gate), settings, Pool(cluster.address))
            outcomes = [next(running)]
            _workers()[0].kill()
            gate.open()
            outcomes += running
        assert len(outcomes) == COUNT
        assert {outcome.state for outcome in outcomes} <= {"enlarged", "finished"}, outcomes
        work.out.mkdir()
        for key in keys(client):
            if key.startswith("out/"):
                client.download_file(BUCKET, key, str(work.out / Path(key).name))
        assert not client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")
        work.compare()


def weights_missing_on_a_node(folder: Path) -> None:
    """One line for all pictures."""
    from bgai.errors import WeightsError

    work = Work(folder)
    with nodes(1) as cluster:
        try:
            list(work.run(cluster, Opening(2, folder / "none.safetensors")))
        except WeightsError as error:
            assert "none.safetensors: no such file" in str(error), error  # noqa: PT017  a script, not a test
        else:
            raise AssertionError("no error")


class Images:
    """Images to measure on, and an option file with relative paths: a set with references and one without."""

    def __init__(self, folder: Path, count: int = COUNT) -> None:
        self.folder, self.count = folder, count
        for name, number in (("mine", count), ("single", 2)):
            (folder / name).mkdir()
            for index in range(number):
                save_rgb_png(folder / name / f"{index:03}.png", texture(40 + 2 * index % 10, 48, seed=index))
        metrics = {
            "psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True},
            "ssim": {"type": "calculate_ssim", "crop_border": 2, "test_y_channel": True},
        }
        sets = {
            "test_1": {"name": "mine", "dataroot_gt": "mine", "dataroot_lq": "low"},
            "test_2": {"name": "single", "type": "SingleImageDataset", "dataroot_lq": "single"},
        }
        values = {"scale": 2, "datasets": sets, "val": {"metrics": metrics, "save_img": True, "suffix": "x2"}}
        for name in ("spread", "alone"):
            (folder / f"{name}.yml").write_text(json.dumps({"name": name, **values}))  # JSON is YAML

    def command(self, cluster: Cluster) -> list[str]:
        return [*self._command("spread"), "--cluster", cluster.address]

    def _command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "bgai", "test", "-opt", f"{name}.yml"]

    def lines(self) -> list[str]:
        """The lines of images that the cluster's run has written so far."""
        file = self.folder / "results/spread/images.jsonl"
        return file.read_text().splitlines(keepends=True)[1:] if file.exists() else []

    def check(self) -> None:
        """Each image was measured once, and scores and pictures are those of one machine."""
        images = [json.loads(line)["image"] for line in self.lines()]
        assert sorted(images) == [f"{index:03}" for index in range(self.count)], images
        subprocess.run(self._command("alone"), cwd=self.folder, check=True, capture_output=True)
        spread, alone = (self._outcome(self.folder / "results" / name) for name in ("spread", "alone"))
        assert spread == alone

    def _outcome(self, results: Path) -> tuple[object, dict[str, bytes]]:
        (scores,) = json.loads((results / "metrics.json").read_text()).values()
        assert scores.pop("seconds") > 0
        assert "smallest gain" in (results / "report.html").read_text()
        pictures = {str(file.relative_to(results)): file.read_bytes() for file in results.rglob("*.png")}
        assert len(pictures) == self.count + 2
        return list(scores.items()), pictures


def measured_on_two_nodes(folder: Path) -> None:
    """A whole run of `bgai test`, with one line for damaged images before it."""
    images = Images(folder)
    damaged = folder / "mine/damaged.png"
    damaged.write_bytes((folder / "mine/000.png").read_bytes()[:200])
    with nodes(2) as cluster:
        run = partial(subprocess.run, images.command(cluster), cwd=folder, capture_output=True, text=True)
        refused = run()
        assert (refused.returncode, images.lines()) == (1, []), refused
        assert "damaged.png" in refused.stderr, refused
        damaged.unlink()
        result = run()
        assert (result.returncode, result.stderr) == (0, ""), result
        assert "results/spread/report.html" in result.stdout, result
    images.check()


def measuring_driver_killed(folder: Path) -> None:
    """The same command goes on: nothing is measured twice."""
    images = Images(folder, MANY)
    with nodes(2) as cluster:
        command = images.command(cluster)
        with subprocess.Popen(command, cwd=folder) as driver:
            while len(images.lines()) < 2:
                assert driver.poll() is None
                time.sleep(0.05)
            driver.kill()
        before = [line for line in images.lines() if line.endswith("\n")]
        assert len(before) < MANY
        subprocess.run(command, cwd=folder, check=True)
    assert images.lines()[: len(before)] == before
    images.check()


def large_picture(folder: Path) -> None:
    """The only picture of a command, whose strips both nodes make."""
    enlarging.LARGE_PIXELS = 10_000
    opening, work = Opening(2, "bgai", tile=176), Work(folder, 0)
    save_rgb_png(work.source / "large.png", texture(400, 200))
    with nodes(2) as cluster:
        (outcome,) = work.run(cluster, opening)
    assert outcome.state == "enlarged", outcome
    (picture,) = work.pictures(work.expected)
    enlarge_picture(picture, opening.open(), OutputSettings(work.expected))
    assert (work.out / "large.png").read_bytes() == (work.expected / "large.png").read_bytes()
    assert [path.name for path in work.out.iterdir()] == ["large.png"]


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        undisturbed,
        node_killed,
        only_node_replaced,
        worker_killed,
        slow_node,
        process_ended_by_picture,
        out_of_memory,
        driver_killed,
        driver_interrupted,
        messages,
        s3_storage,
        weights_missing_on_a_node,
        large_picture,
        measured_on_two_nodes,
        measuring_driver_killed,
    )
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](Path(sys.argv[2]))
