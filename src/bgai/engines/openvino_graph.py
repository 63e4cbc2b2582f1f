"""The network as an OpenVINO graph, built from its weights without PyTorch, for images of one size or of any.

It computes what `bgai.network.model` computes, in float32; what depends on the weights alone is computed beforehand.
A graph for one size takes about two thirds of the time of one for any size, but two seconds to compile. Two
arrangements make both fast:

* OpenVINO's convolutions hold channels last, where taking a slice of the channels is a copy. So the weights are
  sliced instead, and where slices meet again in a 1 x 1 convolution, its parts are summed.
* One gather cuts an image into windows, shifted ones too. It moves runs of adjacent pixels instead of single pixels.

A graph for one size computes attentions and MLPs in parts, some windows or columns at a time: their intermediate
results are the largest, and this saves a fifth of the memory.

Dimensions as in `bgai.network.model`; and c, the adjacent pixels of a window's row that move together.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bgai.engines.folded_weights import fold
from bgai.engines.openvino_runtime import Model, Node, PartialShape, op
from bgai.network.config import MEAN_RGB, NetworkConfig
from bgai.types import Size

EPSILON = 1e-5  # of the layer normalisation
# What a step that is taken in parts yields at a time, at least. Smaller parts save no more memory than their own nodes
# take, 25 KB each.
_PART = 3_600_000
# More parts, of a tile of more than 110,000 pixels, only make the graph larger, and slower to compile and to load.
_MOST_PARTS = 8
_MLP_REACH = 2  # rows or columns that a pixel of the MLP sees on either side
_MOST_TAPS = 13  # OpenVINO 2026.4 does not finish compiling wider depthwise filters in bfloat16

Array = NDArray[np.float64]
Window = tuple[int, int]


def build_graph(
    tensors: Mapping[str, NDArray[np.float32]],
    config: NetworkConfig,
    size: Size | None = None,
    bfloat16: bool = False,
) -> Model:
    """Build the graph that enlarges RGB in [0, 1].

    Args:
        tensors: The weights, named as in `bgai.network.model.BGAI.state_dict`.
        config: The network's settings.
        size: Height and width of the images, any from 1 x 1; None for any.
        bfloat16: Whether the graph will be compiled to compute in bfloat16.

    Returns:
        A model with the inputs `lr`, 1 x 3 x H x W, and those of `window_orders`, and the output `sr`, 1 x sH x sW x 3,
        not clamped.

    Raises:
        KeyError: A tensor is missing.
        RuntimeError: A tensor has another shape than this network's.
    """
    return _Builder(tensors, config, size, bfloat16).network()


@functools.lru_cache(maxsize=1)
def window_orders(config: NetworkConfig, size: Size) -> Mapping[str, NDArray[np.int32]]:
    """The further inputs that a graph needs for an image of this size, by name.

    As constants they would be copied several times while a graph is compiled: 400 bytes for each pixel.
    """
    padded = _padded_size(config, size)
    orders = {}
    for window in _windows(config.window):
        for shifted in (False, True)[: config.blocks]:
            orders.update(_plan_windows(padded, window, shifted))
    return orders


def _padded_size(config: NetworkConfig, size: Size) -> Size:
    return size[0] + -size[0] % config.window, size[1] + -size[1] % config.window


def _windows(side: int) -> tuple[Window, ...]:
    """Of the broadcast attention, and of the three that it is broadcast to."""
    return (side, side), (side, side // 4), (side // 4, side), (side // 2, side // 2)


@dataclass(frozen=True, slots=True)
class _Windowing:
    """How to cut an image into windows: runs of c pixels that stay together, and their order there and back.

    The order comes in parts, of the windows that are taken at a time.
    """

    run: int
    orders: list[Node]
    inverse: Node


_Maps = list[list[Node]]
"""The latest maps of a block's four attentions: n, 1, N, N for each part; empty before the first group."""


class _Builder:
    """Adds the network's parts to a graph, in the order of `model.py`; nodes are 1, C, H, W unless said otherwise."""

    def __init__(
        self,
        tensors: Mapping[str, NDArray[np.float32]],
        config: NetworkConfig,
        size: Size | None,
        bfloat16: bool,
    ) -> None:
        self._tensors = fold(tensors, config)
        self._config = config
        self._size, self._bfloat16 = size, bfloat16
        self._inputs: list[Node] = []
        self._windowings: dict[tuple[Window, bool], _Windowing] = {}

    def network(self) -> Model:
        C = self._config.channels
        lr = self._input("lr", (1, 3, *(self._size or (-1, -1))), np.float32)
        centred = op.subtract(lr, _constant(np.array(MEAN_RGB).reshape(1, 3, 1, 1)))
        x = self._convolve(centred, "shallow")
        fused = None
        maps: list[_Maps] = [[[] for _ in range(4)] for _ in range(self._config.blocks)]
        for index in range(self._config.groups):
            x = self._group(x, f"groups.{index}", maps, fused)
            weight = self._matrix("fuse")[:, index * C : (index + 1) * C]
            part = _pointwise(x, weight, self._bias("fuse") if fused is None else None)
            fused = part if fused is None else op.add(part, fused)
        # Computed again rather than kept all the time; negated, or OpenVINO would merge the two and keep them.
        shallow = self._convolve(centred, "shallow", -1)
        deep = op.subtract(self._mixing(fused, "refine"), shallow)
        sr = op.depth_to_space(self._convolve(deep, "head"), "depth_first", self._config.scale)
        sr = op.transpose(sr, _shape(0, 2, 3, 1))  # as it lies there, and as pictures are kept
        sr.output(0).set_names({"sr"})
        return Model([sr], self._inputs, "bgai")

    def _input(self, name: str, shape: Sequence[int], kind: DTypeLike) -> Node:
        node = op.parameter(PartialShape(list(shape)), kind, name=name)
        node.output(0).set_names({name})
        self._inputs.append(node)
        return node

    def _group(self, x: Node, name: str, maps: list[_Maps], fused: Node | None) -> Node:
        features = op.add(self._mixing(x, f"{name}.mixing1"), x if fused is None else _after(x, fused))
        for index, of_block in enumerate(maps):
            features = self._block(features, f"{name}.blocks.{index}", index % 2 == 1, of_block)
        mixed = self._mix(op.add(features, x), f"{name}.mixing2")
        of_mixed, of_x = np.split(self._matrix(f"{name}.fuse"), 2, axis=1)
        return op.add(_pointwise(mixed, of_mixed), _pointwise(x, of_x, self._bias(f"{name}.fuse")))

    def _mixing(self, x: Node, name: str) -> Node:
        return self._project(self._mix(x, name), f"{name}.join")

    def _mix(self, x: Node, name: str) -> Node:
        """A mixing block up to its last convolution."""
        same, vertical, horizontal, near = (
            self._project(x, f"{name}.spread", rows) for rows in _slices(self._config.channels, 4)
        )
        slices = (
            same,
            self._depthwise(vertical, f"{name}.vertical"),
            self._depthwise(horizontal, f"{name}.horizontal"),
            self._depthwise(self._depthwise(near, f"{name}.near.0"), f"{name}.near.1"),
        )
        return op.gelu(op.add(op.concat(slices, 1), x), "erf")

    def _block(self, features: Node, name: str, shifted: bool, maps: _Maps) -> Node:
        """Features to features; replaces the maps of the last group by those of this one."""
        padded = self._pad(features)
        normed = _normalise(padded)
        local = self._config.local_channels
        whole, *parts = _windows(self._config.window)
        router = self._project(normed, f"{name}.router")
        broadcast, maps[0] = self._attention(router, f"{name}.broadcast_attention", whole, shifted, maps[0])
        outputs = [broadcast]
        for index, shape in enumerate(parts):
            rows = slice(index * local, (index + 1) * local)
            own = self._project(normed, f"{name}.local", rows)
            carried = op.add(own, outputs[-1]) if index else own
            gated = self._gate(carried, broadcast, f"{name}.gates.{index}")
            attention, place = f"{name}.local_attentions.{index}", index + 1
            output, maps[place] = self._attention(gated, attention, shape, shifted, maps[place])
            outputs.append(output)
        x = op.add(self._project(op.concat(outputs, 1), f"{name}.project"), padded)
        return self._mlp_in_parts(x, name, _size_of(features))

    def _pad(self, x: Node) -> Node:
        """Zeros below and on the right, to multiples of the window."""
        window = self._config.window
        if self._size and not any(side % window for side in self._size):
            return x
        missing = op.floor_mod(op.negative(_size_of(x)), _shape(window))
        return op.pad(x, _shape(0, 0, 0, 0), op.concat([_shape(0, 0), missing], 0), "constant")

    def _attention(
        self, x: Node, name: str, window: Window, shifted: bool, previous: list[Node]
    ) -> tuple[Node, list[Node]]:
        """Output and maps, given the maps of the group before."""
        windowing = self._windowing(window, shifted)
        value = self._project(x, f"{name}.value")
        position = self._depthwise(value, f"{name}.position")
        query = op.add(self._project(x, f"{name}.query"), position)
        key = op.multiply(op.add(x, position), np.float32(self._tensors[f"{name}.value.weight"].shape[0] ** -0.5))
        runs = [_to_runs(part, windowing.run) for part in (query, key, value)]
        maps, attended = [], []
        for index, order in enumerate(windowing.orders):
            query, key, value = (_to_windows(part, order, window, _length(x, 1)) for part in runs)
            attention = op.softmax(op.matmul(query, key, False, True), 3)
            if previous:
                temperature = np.float32(self._tensors[f"{name}.temperature"].item())
                attention = op.add(attention, op.multiply(previous[index], temperature))
            maps.append(attention)
            attended.append(op.matmul(attention, value, False, False))
        return op.add(_from_windows(op.concat(attended, 0), _size_of(x), windowing), position), maps

    def _gate(self, local: Node, broadcast: Node, name: str) -> Node:
        both = op.concat([local, broadcast], 1)
        reset = op.sigmoid(self._project(both, f"{name}.reset"))
        update = op.sigmoid(self._project(both, f"{name}.update"))
        candidate = op.tanh(self._project(op.concat([local, op.multiply(reset, broadcast)], 1), f"{name}.candidate"))
        extract = self._project(broadcast, f"{name}.extract")
        return op.add(extract, op.multiply(update, op.subtract(candidate, extract)))

    def _mlp_in_parts(self, padded: Node, name: str, size: Node) -> Node:
        """The MLP of some columns, or of some rows of a tall image, at a time, with what these see on either side."""
        if not self._size:
            return self._mlp(op.slice(padded, _shape(0, 0), size, _shape(1, 1), _shape(2, 3)), name)
        # Columns are cut off by all cores, rows by one.
        axis, other = (3, 2) if self._size[0] < 4 * self._size[1] else (2, 3)
        length, whole = self._size[axis - 2], self._size[other - 2]
        widened = len(self._bias(f"{name}.mlp.widen")) * length * whole
        bands = []
        for start, stop in _parts(length, widened):
            first, last = max(start - _MLP_REACH, 0), min(stop + _MLP_REACH, length)
            # The padding is cut off with the same copy.
            band = op.slice(padded, _shape(first, 0), _shape(last, whole), _shape(1, 1), _shape(axis, other))
            bands.append(_cut(self._mlp(band, name), axis, start - first, stop - first))
        return op.concat(bands, axis)

    def _mlp(self, x: Node, block: str) -> Node:
        """The MLP and its residual."""
        normed, name = _normalise(x), f"{block}.mlp"
        narrow = self._matrix(f"{name}.narrow")
        cut = narrow.shape[1] // 4 * 3
        # One 5 x 5 convolution with zeros around the smaller filters is faster than three on slices.
        reaches = [f"{name}.{reach}" for reach in ("square", "tall", "wide")]
        once = self._project(normed, f"{name}.widen", slice(cut))
        filters = np.concatenate([_padded(self._tensors[f"{reach}.weight"], 5) for reach in reaches])
        biases = np.concatenate([self._bias(reach) for reach in reaches])
        once = _depthwise(once, filters, biases, *_same(filters))
        twice = self._project(normed, f"{name}.widen", slice(cut, None))
        twice = self._depthwise(self._depthwise(twice, f"{name}.twice.0"), f"{name}.twice.1")
        x = op.add(_pointwise(op.gelu(once, "erf"), narrow[:, :cut], self._bias(f"{name}.narrow")), x)
        return op.add(_pointwise(op.gelu(twice, "erf"), narrow[:, cut:]), x)

    def _convolve(self, x: Node, name: str, sign: int = 1) -> Node:
        return _convolution(x, sign * self._tensors[f"{name}.weight"], sign * self._bias(name))

    def _project(self, x: Node, name: str, rows: slice = slice(None)) -> Node:
        return _pointwise(x, self._matrix(name)[rows], self._bias(name)[rows])

    def _depthwise(self, x: Node, name: str) -> Node:
        weight, bias = self._tensors[f"{name}.weight"], self._bias(name)
        reach = weight.shape[-1] // 2
        if not self._bfloat16 or weight.shape[-1] <= _MOST_TAPS:
            return _depthwise(x, weight, bias, *_same(weight))
        left, right = weight[..., : reach + 1], weight[..., reach:].copy()
        right[..., 0] = 0  # the middle is the left one's
        left_sum = _depthwise(x, left, bias, [0, reach], [0, 0])
        return op.add(left_sum, _depthwise(x, right, 0 * bias, [0, 0], [0, reach]))

    def _matrix(self, name: str) -> Array:
        """Weights of a 1 x 1 convolution, out x in."""
        return self._tensors[f"{name}.weight"][:, :, 0, 0]

    def _bias(self, name: str) -> Array:
        return self._tensors[f"{name}.bias"]

    def _windowing(self, window: Window, shifted: bool) -> _Windowing:
        if (window, shifted) not in self._windowings:
            run, N = _run(window, shifted), math.prod(window)
            pixels = math.prod(_padded_size(self._config, self._size)) if self._size else None
            length = pixels // run if pixels else -1
            order, inverse = (self._input(name, (length,), np.int32) for name in _order_names(window, shifted))
            orders = [order]
            if pixels:
                parts = _parts(pixels // N, pixels * N)
                orders = [_cut(order, 0, start * N // run, stop * N // run) for start, stop in parts]
            self._windowings[window, shifted] = _Windowing(run, orders, inverse)
        return self._windowings[window, shifted]


def _order_names(window: Window, shifted: bool) -> tuple[str, str]:
    name = f"{window[0]}x{window[1]}{'_shifted' if shifted else ''}"
    return f"order_{name}", f"inverse_{name}"


def _run(window: Window, shifted: bool) -> int:
    """A roll by half a window leaves halves of its rows together, across the image's edge too."""
    return window[1] // 2 if shifted else window[1]


def _plan_windows(size: Size, window: Window, shifted: bool) -> dict[str, NDArray[np.int32]]:
    """The order in which windows take the runs of an image, and its inverse, by their names as inputs."""
    (H, W), (h, w) = size, window
    shift = (-(h // 2), -(w // 2)) if shifted else (0, 0)
    # Content wraps around the image's edges, unmasked: the released weights were trained so.
    pixels = np.roll(np.arange(H * W).reshape(H, W), shift, (0, 1))
    run = _run(window, shifted)
    order = pixels.reshape(H // h, h, W // w, w).transpose(0, 2, 1, 3).reshape(-1, run)[:, 0] // run
    order_name, inverse_name = _order_names(window, shifted)
    return {order_name: order.astype(np.int32), inverse_name: np.argsort(order).astype(np.int32)}


def _to_runs(x: Node, run: int) -> Node:
    """1, d, H, W -> HW/c, cd."""
    return op.reshape(op.transpose(x, _shape(0, 2, 3, 1)), _shape(-1, run * _length(x, 1)), False)


def _to_windows(runs: Node, order: Node, window: Window, d: int) -> Node:
    """HW/c, cd -> n, 1, N, d."""
    return op.reshape(op.gather(runs, order, _shape(0)), _shape(-1, 1, math.prod(window), d), False)


def _from_windows(x: Node, size: Node, windowing: _Windowing) -> Node:
    """n, 1, N, d -> 1, d, H, W."""
    d = _length(x, 3)
    runs = op.gather(op.reshape(x, _shape(-1, windowing.run * d), False), windowing.inverse, _shape(0))
    image = op.reshape(runs, op.concat([_shape(1), size, _shape(d)], 0), False)
    return op.transpose(image, _shape(0, 3, 1, 2))


def _normalise(x: Node) -> Node:
    """Layer normalisation over the channels, without its scale and bias.

    Written so that nothing moves in memory: the mean over channels in the order that convolutions use, and the rest
    over the last axis, in the form that OpenVINO knows as an RMS normalisation.
    """
    centred = op.transpose(op.subtract(x, op.reduce_mean(x, _shape(1), True)), _shape(0, 2, 3, 1))
    variance = op.reduce_mean(op.power(centred, np.float32(2)), _shape(-1), True)
    inverse = op.divide(np.float32(1), op.sqrt(op.add(variance, np.float32(EPSILON))))
    return op.transpose(op.multiply(centred, inverse), _shape(0, 3, 1, 2))


def _after(x: Node, earlier: Node) -> Node:
    """`x`, but computed after `earlier`.

    OpenVINO computes as late as possible, so it would keep the features of every group until the end.
    """
    first = op.slice(earlier, _shape(0, 0, 0, 0), _shape(1, 1, 1, 1), _shape(1, 1, 1, 1))
    return op.add(x, op.multiply(first, np.float32(0)))


def _pointwise(x: Node, weight: Array, bias: Array | None = None) -> Node:
    return _convolution(x, weight[:, :, None, None], bias)


def _convolution(x: Node, weight: Array, bias: Array | None) -> Node:
    out = op.convolution(x, _constant(weight), [1, 1], *_same(weight), [1, 1])
    return out if bias is None else op.add(out, _constant(bias.reshape(1, -1, 1, 1)))


def _depthwise(x: Node, weight: Array, bias: Array, before: list[int], after: list[int]) -> Node:
    """`weight` is C, 1, h, w; `before` and `after` are the padding of rows and columns."""
    out = op.group_convolution(x, _constant(weight[:, None]), [1, 1], before, after, [1, 1])
    return op.add(out, _constant(bias.reshape(1, -1, 1, 1)))


def _same(weight: Array) -> tuple[list[int], list[int]]:
    """Padding before and after that keeps H x W."""
    padding = [side // 2 for side in weight.shape[-2:]]
    return padding, padding


def _padded(weight: Array, side: int) -> Array:
    """Depthwise filters with zeros around them."""
    rows, columns = ((side - length) // 2 for length in weight.shape[-2:])
    return np.pad(weight, ((0, 0), (0, 0), (rows, rows), (columns, columns)))


def _slices(length: int, count: int) -> Iterator[slice]:
    part = length // count
    return (slice(start, start + part) for start in range(0, length, part))


def _constant(values: Array) -> Node:
    return op.constant(values.astype(np.float32))


def _length(x: Node, axis: int) -> int:
    length: int = x.get_output_partial_shape(0)[axis].get_length()
    return length


def _parts(length: int, numbers: int) -> Iterator[tuple[int, int]]:
    """Where to cut an axis for a step that yields so many numbers in all: starts and stops."""
    count = min(max(1, numbers // _PART), length, _MOST_PARTS)
    return itertools.pairwise(length * index // count for index in range(count + 1))


def _cut(x: Node, axis: int, start: int, stop: int) -> Node:
    return op.slice(x, _shape(start), _shape(stop), _shape(1), _shape(axis))


def _size_of(x: Node) -> Node:
    """Height and width; a constant where they are fixed."""
    return op.gather(op.shape_of(x, "i64"), _shape(2, 3), _shape(0))


@functools.cache  # one node for each: thousands take their part of memory
def _shape(*values: int) -> Node:
    return op.constant(np.array(values, np.int64))
