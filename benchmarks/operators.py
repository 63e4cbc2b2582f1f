"""Which operators the time goes to: shares by kind, of the engine's graph for one size, or of an exported graph.

python benchmarks/operators.py [GRAPH.onnx] [--size 256] [--threads 1]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from bgai.engines.openvino_graph import build_graph, window_orders
from bgai.engines.openvino_runtime import SETTINGS, core
from bgai.weights.reading import read_weights
from bgai.weights.sources import find_weights

ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", type=Path, nargs="?")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    size = options.size, options.size
    inputs: dict[str, Any] = {"lr": np.random.default_rng(0).random((1, 3, *size), np.float32)}
    if options.graph:
        model = core().read_model(options.graph)
        model.reshape([1, 3, *size])
    else:
        config, tensors = read_weights(find_weights(None, 4).file)
        model = build_graph(tensors, config, size)
        inputs |= window_orders(config, size)
    settings = {**SETTINGS, "PERF_COUNT": True, "INFERENCE_NUM_THREADS": options.threads}
    request = core().compile_model(model, "CPU", settings).create_infer_request()
    fastest: dict[int, float] = {}
    kinds: dict[int, str] = {}
    for _ in range(ROUNDS):
        request.infer(inputs)
        for index, one in enumerate(request.profiling_info):
            seconds = one.real_time.total_seconds()
            fastest[index] = min(seconds, fastest.get(index, seconds))
            kinds[index] = f"{one.node_type} | {one.exec_type}"
    totals: dict[str, float] = defaultdict(float)
    for index, seconds in fastest.items():
        totals[kinds[index]] += seconds
    whole = sum(totals.values())
    print(f"{whole * 1000:.0f} ms, each operator's fastest of {ROUNDS} runs, {options.threads} threads\n")
    print("| operator | implementation | count | ms | share |\n|---|---|---|---|---|")
    for kind, seconds in sorted(totals.items(), key=lambda item: -item[1]):
        if seconds > 0.001 * whole:
            count = sum(other == kind for other in kinds.values())
            print(f"| {kind} | {count} | {seconds * 1000:.1f} | {seconds / whole:.1%} |")


if __name__ == "__main__":
    main()
