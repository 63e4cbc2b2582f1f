"""The encoded frames of an enlarged video, kept in segments until all are there, so that a stopped job can go on."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bgai.atomic_files import whole_or_nothing
from bgai.errors import OutputError

FRAMES = 48
"""In one segment. Each begins with a frame that needs no other, and so do jumps of players."""

_RECORD = struct.Struct("<q?I")  # number of the frame, whether it needs no other, bytes
_OWNER = "made-from"


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """What an encoder gave for one frame."""

    number: int
    """Of the frame in the video, from 0."""
    key: bool
    """Whether it is decoded without others."""
    data: bytes


class Segments:
    """The folder of finished segments beside an output.

    Args:
        target: The output.
        owner: Says from what and how the output is made; segments of another one are removed.

    Raises:
        OutputError: The folder cannot be made.
    """

    def __init__(self, target: Path, owner: str) -> None:
        digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
        self.folder = target.parent / f".bgai-{digest}.video"
        self.replaced = False
        """Whether there were segments of another owner."""
        try:
            if self.folder.is_dir() and self._owner() != owner:
                self.replaced = True
                shutil.rmtree(self.folder)
            if not self.folder.is_dir():
                self.folder.mkdir(parents=True)
                (self.folder / _OWNER).write_text(owner, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be made: {error.strerror or error}") from error

    def _owner(self) -> str:
        with suppress(OSError, ValueError):
            return (self.folder / _OWNER).read_text(encoding="utf-8")
        return ""

    def path(self, index: int) -> Path:
        """The file of a segment."""
        return self.folder / f"{index:06}"

    def is_finished(self, index: int) -> bool:
        """Whether a segment is there."""
        return self.path(index).is_file()

    def write(self, index: int, header: bytes, frames: Iterator[EncodedFrame]) -> None:
        """Store a segment; it appears whole or not at all.

        Args:
            index: From 0.
            header: What is common to all frames, for the decoder.
            frames: In the order of decoding.
        """
        with whole_or_nothing(self.path(index)) as partial, partial.open("wb") as file:
            for frame in (EncodedFrame(-1, False, header), *frames):
                file.write(_RECORD.pack(frame.number, frame.key, len(frame.data)) + frame.data)

    def header(self) -> bytes:
        """What is common to all frames, for the decoder."""
        return next(self._records(0)).data

    def numbers(self, count: int) -> list[int]:
        """Numbers of all frames in the order of decoding, from so many segments."""
        return [number for index in range(count) for number in self._numbers(index)]

    def frames(self, count: int) -> Iterator[EncodedFrame]:
        """All frames in the order of decoding, from so many segments."""
        for index in range(count):
            records = self._records(index)
            next(records)
            yield from records

    def remove(self) -> None:
        """Remove the folder, when the output is there."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _records(self, index: int) -> Iterator[EncodedFrame]:
        with self.path(index).open("rb") as file:
            while head := file.read(_RECORD.size):
                number, key, size = _RECORD.unpack(head)
                yield EncodedFrame(number, key, file.read(size))

    def _numbers(self, index: int) -> Iterator[int]:
        with self.path(index).open("rb") as file:
            while head := file.read(_RECORD.size):
                number, _, size = _RECORD.unpack(head)
                file.seek(size, os.SEEK_CUR)
                if number >= 0:
                    yield number
