"""Bytes that each step of the engine's graph reads and writes for a pixel, against those that it would have to move.

python benchmarks/traffic.py [--size 256] [--threads 1] [--rounds 5]

A model of the traffic: what each operator that OpenVINO runs takes in and gives out, as if caches held nothing from one
to the next. A step has to move what comes from other steps and what goes to them. The time of each step gives its
speed, which the table of copies puts in its place: copies of several sizes, from those that fit into caches on.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from named_graph import build_named

from bgai.engines.openvino_graph import window_orders
from bgai.engines.openvino_runtime import SETTINGS, Model, core
from bgai.weights.reading import blended_weights
from bgai.weights.sources import find_weights

STEPS = {
    "attention": "attentions, with their projections",
    "gate": "gates",
    "mlp": "MLPs",
    "mix": "mixing blocks",
    "normalise": "normalisations",
    "block": "router, local and last projections of blocks",
    "group": "joins and fusions of groups",
    "": "first and last convolutions, fusion",
}


@dataclass
class Step:
    """What the operators of one kind of step move, in bytes, and the seconds that they take."""

    moved: int = 0
    necessary: int = 0
    seconds: float = 0
    operators: int = 0
    instances: set[str] = field(default_factory=set)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    config, tensors = blended_weights(find_weights("bgai", 4))
    size = options.size, options.size
    model, names = build_named(tensors, config, size)
    settings = {**SETTINGS, "PERF_COUNT": True, "INFERENCE_NUM_THREADS": options.threads}
    compiled: Any = core().compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    inputs = {"lr": np.random.default_rng(0).random((1, 3, *size), np.float32), **window_orders(config, size)}
    seconds: dict[str, float] = {}
    for _ in range(options.rounds):
        request.infer(inputs)
        for each in request.profiling_info:
            taken = each.real_time.total_seconds()
            seconds[each.node_name] = min(taken, seconds.get(each.node_name, taken))
    show(count(compiled.get_runtime_model(), names, seconds), options.size**2)
    print("\n| copy of, MiB | GiB/s, read and written |\n|---|---|")
    for mebibytes in (0.25, 1, 4, 16, 64, 256):
        print(f"| {mebibytes:g} | {copy_speed(mebibytes):.1f} |")


def count(model: Model, names: dict[str, str], seconds: dict[str, float]) -> dict[str, Step]:
    """What each kind of step moves, by the operators that OpenVINO runs after it has fused what it could."""
    steps: dict[str, Step] = defaultdict(Step)
    instance_of: dict[str, str] = {}
    operators = [node for node in model.get_ordered_ops() if node.get_friendly_name() in seconds]
    for node in model.get_ordered_ops():
        instance_of[node.get_friendly_name()] = instance(node, names, instance_of)
    for node in operators:
        name = node.get_friendly_name()
        own = instance_of[name]
        step = steps[kind(own)]
        step.operators += 1
        step.instances.add(own)
        step.seconds += seconds[name]
        for value in node.inputs():
            source = value.get_source_output()
            if layer(source.get_node()) == "Const":
                continue
            amount = nbytes(source)
            step.moved += amount
            if instance_of[source.get_node().get_friendly_name()] != own:
                step.necessary += amount
        for output in node.outputs():
            step.moved += nbytes(output)
            users = {instance_of[user.get_node().get_friendly_name()] for user in output.get_target_inputs()}
            if users - {own}:
                step.necessary += nbytes(output)
    return steps


def instance(node: Any, names: dict[str, str], instances: dict[str, str]) -> str:
    """The path of the step that an operator is part of: that of the layers fused in it, or of what it reads."""
    info = node.get_rt_info()
    layers = info["originalLayersNames"].astype(str).split(",") if "originalLayersNames" in dict(info) else []
    paths = [names[each] for each in layers if each in names]
    if paths:
        return whole_step(paths[0])
    sources = [value.get_source_output().get_node() for value in node.inputs()]
    return next((instances[each.get_friendly_name()] for each in sources if layer(each) != "Const"), "")


def whole_step(path: str) -> str:
    """The path up to the first step that has a row of its own."""
    parts = path.split("/")
    for index, part in enumerate(parts):
        if part.split(" ")[0] in ("attention", "gate", "mlp", "mix", "normalise"):
            return "/".join(parts[: index + 1])
    return "/".join(part for part in parts if part.split(" ")[0] in ("group", "block"))


def kind(path: str) -> str:
    return path.split("/")[-1].split(" ")[0]


def layer(node: Any) -> str:
    info = node.get_rt_info()
    return str(info["layerType"].astype(str)) if "layerType" in dict(info) else ""


def nbytes(output: Any) -> int:
    return int(np.prod(output.get_shape()) * output.get_element_type().size)


def show(steps: dict[str, Step], pixels: int) -> None:
    print("| | operators | bytes moved | had to | times | ms | GiB/s |\n|---|---|---|---|---|---|---|")
    whole = Step()
    for name, step in sorted(steps.items(), key=lambda item: -item[1].moved):
        print(row(STEPS.get(name, name), step, pixels))
        whole.moved += step.moved
        whole.necessary += step.necessary
        whole.seconds += step.seconds
        whole.operators += step.operators
    print(row("all", whole, pixels))


def row(name: str, step: Step, pixels: int) -> str:
    times = step.moved / step.necessary if step.necessary else float("nan")
    speed = step.moved / step.seconds / 2**30 if step.seconds else float("nan")
    moved, necessary = step.moved / pixels, step.necessary / pixels
    figures = f"{step.operators} | {moved:,.0f} | {necessary:,.0f} | {times:.1f}"
    return f"| {name} | {figures} | {step.seconds * 1000:.0f} | {speed:.1f} |"


def copy_speed(mebibytes: float) -> float:
    """GiB read and written in a second by copies of so much, by one thread; the fastest of several."""
    source = np.ones(int(mebibytes * 2**20), np.uint8)
    target = np.zeros_like(source)
    repeats = max(1, int(64 / mebibytes))
    fastest = float("inf")
    for _ in range(9):
        start = time.perf_counter()
        for _ in range(repeats):
            np.copyto(target, source)
        fastest = min(fastest, (time.perf_counter() - start) / repeats)
    return 2 * source.nbytes / fastest / 2**30


if __name__ == "__main__":
    main()
