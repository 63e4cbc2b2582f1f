"""The metadata of an ONNX graph, read without the `onnx` package.

A file is a message of Protocol Buffers: fields, each with a number and a kind, those of kind 2 with a length.
Source: `ModelProto` and `StringStringEntryProto` in onnx.proto; the encoding of Protocol Buffers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bgai.errors import WeightsError

_METADATA, _KEY, _VALUE = 14, 1, 2
_FIXED_BYTES = {1: 8, 5: 4}  # of kinds without a length


def read_graph_metadata(path: Path) -> dict[str, str]:
    """The metadata of a graph; empty for a file that is no graph, which the engine reports when it loads it.

    Raises:
        WeightsError: The file cannot be read.
    """
    try:
        content = memoryview(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    metadata = {}
    with suppress(IndexError, ValueError, KeyError):  # damaged
        for field, entry in _fields(content):
            if field == _METADATA:
                texts = {part: bytes(text).decode() for part, text in _fields(entry)}
                metadata[texts[_KEY]] = texts.get(_VALUE, "")
    return metadata


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Numbers and contents of the fields that have a length.

    Raises:
        IndexError: The message breaks off.
        ValueError: It is no message.
    """
    at = 0
    while at < len(message):
        tag, at = _whole_number(message, at)
        field, kind = tag >> 3, tag & 7
        if kind == 2:
            length, at = _whole_number(message, at)
            if at + length > len(message):
                raise IndexError
            yield field, message[at : at + length]
            at += length
        elif kind == 0:
            _, at = _whole_number(message, at)
        elif kind in _FIXED_BYTES:
            at += _FIXED_BYTES[kind]
        else:
            raise ValueError


def _whole_number(message: memoryview, at: int) -> tuple[int, int]:
    """Decode seven bits a byte, the lowest first; returns the number and the place behind it."""
    value = shift = 0
    while message[at] & 0x80:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if shift > 63:
            raise ValueError
    return value | message[at] << shift, at + 1
