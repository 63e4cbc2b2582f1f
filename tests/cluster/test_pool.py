"""Clusters of several nodes on this machine, each test in a network namespace of its own."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from namespace_support import UNSHARE, needs_ray, skip_without_namespaces

from bgai._version import __version__
from bgai.cluster.pool import Opening, Pool, _Worker, enlarge_on_cluster
from bgai.errors import BgaiError, EngineError, MissingExtraError, UsageError, WeightsError
from bgai.upscaling.batch import NamedPicture, OutputSettings

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


@pytest.mark.parametrize(
    ("version", "settings", "message"),
    [
        ("0.0.0", b"of another version", rf"a machine of the cluster has bgai {__version__}, this one 0.0.0"),
        (__version__, b"damaged", r"a machine of the cluster cannot begin: UnpicklingError: "),
        (__version__, pickle.dumps((Opening(weights="none.pth"), OutputSettings())), r"none.pth: no such file"),
    ],
)
def test_workers_that_cannot_begin(version: str, settings: bytes, message: str) -> None:
    """They tell it instead of the outcome, once for the whole command."""
    worker = _Worker(version, settings, 1)
    row = worker({"index": 3, "picture": pickle.dumps(NamedPicture(Path("a.png"), Path("b.png")))})
    error = pickle.loads(row["outcome"])
    assert row["index"] == 3
    assert isinstance(error, BgaiError)
    assert re.match(message, str(error)), error


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"a cluster needs the extra 'cluster'"):
        list(enlarge_on_cluster([], Opening(), OutputSettings(), Pool()))


@needs_ray
@pytest.mark.filterwarnings("ignore")  # of Ray's imports
@pytest.mark.parametrize(
    ("address", "reason"),
    [("127.0.0.1:9", "Connection refused"), ("head", "expected auto, or a host and a port such as 10.0.0.1:6379")],
)
def test_clusters_that_do_not_answer(address: str, reason: str) -> None:
    with pytest.raises(EngineError, match=rf"cluster {address}: cannot be reached: .*{reason}") as failure:
        list(enlarge_on_cluster([], Opening(), OutputSettings(), Pool(address)))
    assert failure.value.parameter == "cluster"


@pytest.mark.parametrize(("cpus", "gpus", "parameter"), [(0, 0, "worker_cpus"), (1, -0.5, "worker_gpus")])
def test_shares_of_a_machine(cpus: int, gpus: float, parameter: str) -> None:
    with pytest.raises(UsageError, match=r"a worker: expected \d or more") as failure:
        Pool(cpus=cpus, gpus=gpus)
    assert failure.value.parameter == parameter


def test_scale_by_which_outputs_are_named() -> None:
    assert Opening().find_scale() == 4
    assert Opening(2, "bgai").find_scale() == 2
    assert Opening(clean=0.5, scale=3).find_scale() == 3
    assert Opening(sized=True).find_scale() is None
    with pytest.raises(WeightsError, match=r"none.safetensors: no such file"):
        Opening(weights="none.safetensors").find_scale()
