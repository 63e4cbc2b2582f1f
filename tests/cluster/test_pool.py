"""Clusters of several nodes on this machine, each test in a network namespace of its own."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from namespace_support import UNSHARE, needs_ray, skip_without_namespaces

from bgai._version import __version__
from bgai.cluster.enlarging import Opening, _Enlarging
from bgai.cluster.pool import Pool, _Worker, check_cluster, run_on_cluster
from bgai.engines.openvino_runtime import core
from bgai.errors import BgaiError, EngineError, MissingExtraError, UsageError
from bgai.upscaling.batch import OutputSettings

SCENARIOS = [
    "undisturbed",
    "node_killed",
    "only_node_replaced",
    "worker_killed",
    "slow_node",
    "process_ended_by_picture",
    "out_of_memory",
    "driver_killed",
    "driver_interrupted",
    "messages",
    "s3_storage",
    "weights_missing_on_a_node",
    "large_picture",
    "measured_on_two_nodes",
    "measuring_driver_killed",
]


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_faults(scenario: str, tmp_path: Path) -> None:
    skip_without_namespaces()
    script = Path(__file__).with_name("scenarios.py")
    search = os.pathsep.join([str(script.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "RAY_TMPDIR": "/tmp", "PYTHONPATH": search}  # names of Ray's sockets have to be short
    result = subprocess.run(
        [*UNSHARE, sys.executable, str(script), scenario, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=1800,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


_WORK = _Enlarging(Opening(2, "bgai"), OutputSettings())


class Failing:
    """Work that can be begun, and fails with what it is given."""

    engine, memory = "torch", 0

    def open(self) -> Any:
        def fail(error: Exception) -> None:
            raise error

        return fail


def result(worker: _Worker, item: object = None) -> Any:
    row = worker({"index": 3, "item": pickle.dumps(item)})
    assert row["index"] == 3
    return pickle.loads(row["result"])


@pytest.mark.parametrize(
    ("version", "work", "message"),
    [
        ("0.0.0", b"of another version", rf"a machine of the cluster has bgai {__version__}, this one 0.0.0"),
        (__version__, b"damaged", r"a process of the cluster failed: UnpicklingError: "),
        (__version__, pickle.dumps(replace(_WORK, opening=Opening(weights="none.pth"))), r"none.pth: no such file"),
    ],
)
def test_workers_that_cannot_begin(version: str, work: bytes, message: str, tmp_path: Path) -> None:
    """They tell it instead of each result."""
    error = result(_Worker(version, work, 1, str(tmp_path / "not here")))
    assert isinstance(error, BgaiError)
    assert re.match(message, str(error)), error


def test_errors_of_workers_are_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is raised, Ray takes for a process that ended."""
    monkeypatch.chdir(Path.cwd())
    worker = _Worker(__version__, pickle.dumps(Failing()), 1, str(Path.cwd()))
    ours, other = result(worker, UsageError("no", parameter="tile")), result(worker, ValueError("what"))
    assert (type(ours), str(ours), ours.parameter) == (UsageError, "no", "tile")
    assert (type(other), str(other)) == (EngineError, "a process of the cluster failed: ValueError: what")


def test_relative_paths_of_workers_begin_where_the_driver_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path.cwd())
    _Worker(__version__, pickle.dumps(Failing()), 1, str(tmp_path))
    assert Path.cwd() == tmp_path


def test_threads_of_a_process_are_bound_to_no_cores() -> None:
    """All processes of a machine would be bound to the same ones."""
    work = pickle.dumps(replace(_WORK, opening=Opening(2, "bgai", engine="openvino")))
    _Worker(__version__, work, 1, str(Path.cwd()))
    assert core().get_property("CPU", "ENABLE_CPU_PINNING") is False
    assert core().get_property("CPU", "INFERENCE_NUM_THREADS") == 1


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    calls: tuple[Callable[[], object], ...] = (
        lambda: check_cluster(Pool()),
        lambda: list(run_on_cluster([], _WORK, Pool())),
    )
    for call in calls:
        with pytest.raises(MissingExtraError, match=r"a cluster needs the extra 'cluster'"):
            call()


@needs_ray
@pytest.mark.filterwarnings("ignore")  # of Ray's imports
@pytest.mark.parametrize(
    ("address", "reason"),
    [("127.0.0.1:9", "Connection refused"), ("head", "expected auto, or a host and a port such as 10.0.0.1:6379")],
)
def test_clusters_that_do_not_answer(address: str, reason: str) -> None:
    calls: tuple[Callable[[Pool], object], ...] = (check_cluster, lambda pool: list(run_on_cluster([], _WORK, pool)))
    for call in calls:
        with pytest.raises(EngineError, match=rf"cluster {address}: cannot be reached: .*{reason}") as failure:
            call(Pool(address))
        assert failure.value.parameter == "cluster"


@pytest.mark.parametrize(("cpus", "gpus", "parameter"), [(0, 0, "worker_cpus"), (1, -0.5, "worker_gpus")])
def test_shares_of_a_machine(cpus: int, gpus: float, parameter: str) -> None:
    with pytest.raises(UsageError, match=r"a worker: expected \d or more") as failure:
        Pool(cpus=cpus, gpus=gpus)
    assert failure.value.parameter == parameter


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [("auto", 0, "cpu"), ("auto", 0.5, "auto"), ("cuda", 1, "cuda"), ("cpu", 0, "cpu"), ("npu", 0, "npu")],
)
def test_devices(device: str, gpus: float, expected: str) -> None:
    assert Pool(gpus=gpus).choose_device(device) == expected


@pytest.mark.parametrize(
    ("device", "gpus", "message"),
    [
        ("cuda", 0, "device cuda: expected a share of a GPU for each process"),
        ("cpu", 1, "GPUs for processes on the device cpu: leave one of them out"),
    ],
)
def test_devices_that_do_not_go_with_gpus(device: str, gpus: float, message: str) -> None:
    with pytest.raises(UsageError, match=message) as failure:
        Pool(gpus=gpus).choose_device(device)
    assert failure.value.parameter == "worker_gpus"
