"""Where the weights lie in ONNX files, so that two networks of one layout can be mixed byte range by byte range."""

from __future__ import annotations

from collections.abc import Iterator

Range = tuple[int, int]
"""Offset in the file, and how many float32 values lie there."""

# Fields of protobuf messages, by their numbers in onnx.proto.
_GRAPH = 7  # of a model
_INITIALIZER = 5  # of a graph
_DATA_TYPE = 2  # of a tensor
_VALUES = 4, 9  # of a tensor of float32: a list of them, or the same bytes as raw data
_FLOAT32 = 1  # a data type
_VARINT, _LENGTH = 0, 2
_WIDTHS = {1: 8, 5: 4}  # bytes of the other wire types


def shared_ranges(first: bytes, second: bytes) -> list[Range] | None:
    """Where the float32 tensors of two ONNX files lie; None if the files differ in more than those tensors' values."""
    ranges = _float_ranges(first)
    same = len(first) == len(second) and _without(first, ranges) == _without(second, ranges)
    return ranges if same else None


def _float_ranges(model: bytes) -> list[Range]:
    ranges = []
    for graph in _fields(model, _GRAPH, 0, len(model)):
        for tensor in _fields(model, _INITIALIZER, *graph):
            (kind,) = _fields(model, _DATA_TYPE, *tensor)
            if kind[0] == _FLOAT32:
                places = [place for field in _VALUES for place in _fields(model, field, *tensor)]
                ranges += [(start, (stop - start) // 4) for start, stop in places]
    return ranges


def _without(model: bytes, ranges: list[Range]) -> bytes:
    starts = [0, *(offset + 4 * count for offset, count in ranges)]
    stops = [*(offset for offset, _ in ranges), len(model)]
    return b"".join(model[start:stop] for start, stop in zip(starts, stops, strict=True))


def _fields(message: bytes, wanted: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Of each field of a number, where its content starts and stops; of an integer, the integer twice."""
    while start < stop:
        tag, start = _varint(message, start)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, start = _varint(message, start)
            content = value, value
        else:
            length, start = _varint(message, start) if wire == _LENGTH else (_WIDTHS[wire], start)
            content = start, start + length
            start += length
        if number == wanted:
            yield content


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """An integer of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        value |= (message[at] & 127) << shift
        shift += 7
        at += 1
        if message[at - 1] < 128:
            return value, at
