"""The engine's graph with the step that each node is part of in its name, for what measures steps apart."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bgai.engines import openvino_graph
from bgai.engines.openvino_runtime import Model, Node
from bgai.network.config import NetworkConfig
from bgai.types import Size, Tensors

# Methods of the graph's builder that make a step, and which argument names the part of the network.
_STEPS = {
    "_group": 1,
    "_block": 1,
    "_mix": 1,
    "_attention": 1,
    "_gate": 2,
    "_mlp": 1,
    "_project": 1,
    "_project_normed": 1,
    "_depthwise": 1,
    "_convolve": 1,
}


def build_named(
    tensors: Tensors, config: NetworkConfig, size: Size, bfloat16: bool = False
) -> tuple[Model, dict[str, str]]:
    """The graph, and by the name of each node its path of steps, such as `group groups.0/block …/attention …`."""
    made: list[tuple[Node, str]] = []
    path: list[str] = []
    openvino_graph._shape.cache_clear()
    with _noting(made, path):
        model = openvino_graph._Builder(tensors, config, size, bfloat16).network()
    openvino_graph._shape.cache_clear()  # its nodes have names now
    names = {}
    for index, (node, steps) in enumerate(made):
        node.set_friendly_name(f"step{index}")
        names[f"step{index}"] = steps
    return model, names


@contextmanager
def _noting(made: list[tuple[Node, str]], path: list[str]) -> Iterator[None]:
    """While the block runs, note each node that the builder makes, and the steps that it is in."""
    module: Any = openvino_graph
    builder = openvino_graph._Builder
    kept = {name: getattr(builder, name) for name in _STEPS}
    before, normalise = module.op, module._normalise
    module.op = _Operations(before, made, path)
    module._normalise = _within(normalise, lambda *_: "normalise", path)
    for name, place in _STEPS.items():
        step = _within(kept[name], lambda *given, name=name, place=place: f"{name[1:]} {given[place + 1]}", path)
        setattr(builder, name, step)
    try:
        yield
    finally:
        module.op, module._normalise = before, normalise
        for name, method in kept.items():
            setattr(builder, name, method)


def _within(call: Callable[..., Any], name: Callable[..., str], path: list[str]) -> Callable[..., Any]:
    @functools.wraps(call)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        path.append(name(*arguments))
        try:
            return call(*arguments, **named)
        finally:
            path.pop()

    return wrapped


class _Operations:
    """OpenVINO's operations, which note the nodes that they make."""

    def __init__(self, operations: Any, made: list[tuple[Node, str]], path: list[str]) -> None:
        self._operations, self._made, self._path = operations, made, path

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._operations, name)

        def noting(*arguments: Any, **named: Any) -> Node:
            node: Node = call(*arguments, **named)
            if name != "constant":
                self._made.append((node, "/".join(self._path)))
            return node

        return noting
