"""Pictures a second on a Ray cluster of nodes of one core, beside `bgai upscale` on this machine, and what Ray costs.

Needs the extra [cluster]. Where this machine's network must not be used, run it in a network namespace:

unshare --net sh -c 'ip link set lo up && python benchmarks/cluster.py --pictures 60 --side 192'

Each case runs in a process of its own, and rounds alternate. Start-up is left out: the clock runs from the twelfth
outcome to the last, when all workers are there. CPU seconds are those of all processes of the case, Ray's too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import psutil

from bgai.cluster import pool
from bgai.cluster.enlarging import Opening, enlarge_on_cluster
from bgai.cluster.picture import Outcome, enlarge_picture
from bgai.cluster.pool import MOST_BLOCKS, Pool
from bgai.pictures.writing import save_rgb_png
from bgai.upscaling.batch import NamedPicture, OutputSettings

CASES = {"bgai upscale, all cores": 0, "1 worker of one core": 1, "2 workers of one core": 2}
_OPENING = Opening(4, "bgai")
_MEMORY = 4 * 2**30  # of each node, for Ray to plan with
_WARM_UP = 12  # pictures before the clock runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--side", type=int, default=192, help="of each picture, in pixels")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--overhead", type=int, default=400, help="blocks of pictures that are not there")
    parser.add_argument("--blocks", type=int, default=MOST_BLOCKS, help=argparse.SUPPRESS)
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case is not None:
        pool.MOST_BLOCKS = arguments.blocks
        print(json.dumps(_measure(arguments.case, arguments.pictures, arguments.side)))
        return
    results: dict[str, list[dict[str, float]]] = {name: [] for name in CASES}
    for _ in range(arguments.rounds):
        for name, nodes in CASES.items():
            results[name].append(_in_process(nodes, arguments.pictures, arguments.side))
    print("| | pictures a second | CPU seconds a picture | seconds before the first |\n|---|---|---|---|")
    for name, rounds in results.items():
        print(f"| {name} | {_spread(rounds, 'speed', '.2f')} | {_spread(rounds, 'cpu', '.2f')} |", end="")
        print(f" {_spread(rounds, 'start', '.0f')} |")
    checked = _in_process(2, arguments.pictures, -arguments.side)
    print(f"\nA picture that is finished: {1000 * checked['cpu']:.0f} ms of CPU\n")
    print("| pictures in a block | ms of CPU a picture | of the driver alone | pictures a second |\n|---|---|---|---|")
    for together in (1, 50):
        empty = _in_process(2, arguments.overhead * together, 0, arguments.overhead)
        print(f"| {together} | {1000 * empty['cpu']:.2f} | {1000 * empty['driver']:.2f} | {empty['speed']:.0f} |")


def _in_process(nodes: int, pictures: int, side: int, blocks: int = MOST_BLOCKS) -> dict[str, float]:
    command = [sys.executable, __file__, "--case", str(nodes), "--pictures", str(pictures), "--side", str(side)]
    command += ["--blocks", str(blocks)]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    values: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return values


def _spread(rounds: Iterable[dict[str, float]], key: str, form: str) -> str:
    values = sorted(values[key] for values in rounds)
    return f"{statistics.median(values):{form}} ({values[0]:{form}} to {values[-1]:{form}})"


def _measure(nodes: int, count: int, side: int) -> dict[str, float]:
    """Speed and CPU seconds of one case; pictures are missing for a side of 0, and finished for a negative one."""
    with tempfile.TemporaryDirectory() as scratch:
        source, settings = Path(scratch, "in"), OutputSettings(Path(scratch, "out"))
        source.mkdir()
        random = np.random.default_rng(0)
        names = [f"{number}.png" for number in range(count)]
        for name in names if side else ():
            save_rgb_png(source / name, random.integers(0, 256, (abs(side), abs(side), 3), np.uint8))
        pictures = [NamedPicture(source / name, Path(scratch, "out", name)) for name in names]
        if side < 0:
            list(_here(pictures, settings))
        start = time.perf_counter()
        with _outcomes(nodes, pictures, settings) as outcomes:
            next(outcomes)
            first = time.perf_counter() - start
            for _ in range(_WARM_UP - 1):
                next(outcomes)
            begin, cpu, driver = time.perf_counter(), _cpu_seconds(), time.process_time()
            # Not to the generator's end, which ends the processes.
            done = sum(1 for _ in zip(range(count - _WARM_UP), outcomes, strict=False))
            seconds = time.perf_counter() - begin
            cpu, driver = _cpu_seconds() - cpu, time.process_time() - driver
    return {"speed": done / seconds, "cpu": cpu / done, "driver": driver / done, "start": first}


def _here(pictures: list[NamedPicture], settings: OutputSettings) -> Iterator[Outcome]:
    upscaler = _OPENING.open()
    return (enlarge_picture(picture, upscaler, settings) for picture in pictures)


@contextlib.contextmanager
def _outcomes(nodes: int, pictures: list[NamedPicture], settings: OutputSettings) -> Iterator[Iterator[Outcome]]:
    if nodes == 0:
        yield _here(pictures, settings)
        return
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    import ray
    from ray.cluster_utils import Cluster

    common = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **common})
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=1, memory=_MEMORY, **common)
        yield enlarge_on_cluster(pictures, _OPENING, settings, Pool(cluster.address))
    finally:
        ray.shutdown()
        cluster.shutdown()


def _cpu_seconds() -> float:
    """Of this process and all below it."""
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


if __name__ == "__main__":
    main()
