"""One picture to enlarge for a client: its options, its state, and the JSON object that clients get of it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

from bgai.errors import UsageError
from bgai.pictures.reading import INPUT_SUFFIXES
from bgai.upscaling.batch import OutputSettings
from bgai.upscaling.sizes import TargetSize
from bgai.web.preview import Preview
from bgai.weights.sources import check_scale

State = Literal["queued", "running", "done", "failed"]
WeightsName = Literal["auto", "bgai", "photo", "official"]
MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".avif": "image/avif",
}
"""Of results, by their suffix."""
_LONGEST_NAME = 120  # characters
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How a picture is to be enlarged: the options of `bgai upscale` that a client may choose.

    Raises:
        UsageError: One is outside its range.
    """

    scale: int | None = None
    """None for that of a size, or 4."""
    factor: float | None = None
    width: int | None = None
    height: int | None = None
    """Instead of a scale: a size as of `bgai.TargetSize`."""
    weights: WeightsName = "auto"
    clean: float | None = None
    """From 0 to 1; only with weights `auto`."""
    format: str | None = None
    quality: int = 95
    metadata: bool = True
    """Whether EXIF, XMP and IPTC are kept; profile and resolution always are."""

    def __post_init__(self) -> None:
        if self.size is None:
            object.__setattr__(self, "scale", self.scale or 4)
            check_scale(self.scale)
        elif self.scale is not None:
            raise UsageError("a scale and a size: leave one of them out")
        if self.weights not in get_args(WeightsName):
            raise UsageError(f"weights {self.weights!r}: expected one of {', '.join(get_args(WeightsName))}")
        if self.clean is not None and self.weights != "auto":
            raise UsageError(f"clean {self.clean:g}: expected weights 'auto' with it, not {self.weights!r}")
        if self.clean is not None and not 0 <= self.clean <= 1:
            raise UsageError(f"clean {self.clean:g}: expected 0 to 1")
        OutputSettings(format=self.format, quality=self.quality)

    @property
    def size(self) -> TargetSize | None:
        """That of the result, if it is not given by the scale."""
        if self.factor is None and self.width is None and self.height is None:
            return None
        return TargetSize(factor=self.factor, width=self.width, height=self.height)

    @classmethod
    def from_fields(cls, given: Mapping[str, str]) -> JobOptions:
        """Read the fields of a form or query; empty ones count as left out.

        Raises:
            UsageError: An unknown field, or a value that is none.
        """
        names = [option.name for option in fields(cls)]
        if unknown := sorted(given.keys() - set(names)):
            raise UsageError(f"option {unknown[0][:40]!r}: expected one of {', '.join(names)}")
        whole = dict.fromkeys(("scale", "width", "height", "quality"), _whole)
        readers = {**whole, "factor": _number, "clean": _number, "metadata": _truth}
        return cls(**{name: readers.get(name, _text)(name, value) for name, value in given.items() if value})


def _text(name: str, value: str) -> Any:
    return value[:40]


def _whole(name: str, value: str) -> Any:
    if not re.fullmatch(r"[0-9]{1,6}", value):
        raise UsageError(f"{name} {value[:40]!r}: expected a whole number")
    return int(value)


def _number(name: str, value: str) -> Any:
    try:
        return float(value)
    except ValueError as error:
        raise UsageError(f"{name} {value[:40]!r}: expected a number") from error


def _truth(name: str, value: str) -> Any:
    if value not in _TRUTHS:
        raise UsageError(f"{name} {value[:40]!r}: expected true or false")
    return _TRUTHS[value]


@dataclass(slots=True)
class Job:
    """One picture of a client; the first group of fields is what a restart finds again."""

    id: str
    client: str
    """Label of the client's jobs."""
    name: str
    """Of the upload, safe as a file name."""
    options: JobOptions
    source: str
    """File in the job's folder."""
    width: int
    height: int
    """Of the upload, upright."""
    source_bytes: int
    created: float
    """Seconds since 1970."""
    output_width: int = 0
    output_height: int = 0
    scale: int = 1
    """Of the networks, whose result is reduced to the output's size."""
    key: str = ""
    """The client's own, by which it is known if it is sent again."""
    state: State = "queued"
    finished: float = 0.0
    result: str = ""
    """File in the job's folder, once there is one."""
    result_bytes: int = 0
    weights: str = ""
    notes: tuple[str, ...] = ()
    error: str = ""
    error_status: int = 0
    """HTTP's, of the error."""

    pixels_done: int = 0
    started: float = 0.0
    """By the monotonic clock."""
    stop: threading.Event = field(default_factory=threading.Event)
    preview: Preview | None = None
    """While it runs."""

    @property
    def is_final(self) -> bool:
        return self.state in ("done", "failed")

    @property
    def bytes(self) -> int:
        return self.source_bytes + self.result_bytes

    @property
    def result_name(self) -> str:
        """As `bgai upscale` names it."""
        path = PurePosixPath(self.name)
        label = self.options.size or f"x{self.options.scale}"
        return f"{path.stem}_{label}{PurePosixPath(self.result).suffix}"

    def for_clients(self, ahead: int = 0) -> dict[str, Any]:
        """The JSON object that clients get, and nothing of this machine in it.

        Args:
            ahead: Jobs that come before it.
        """
        share = 1.0 if self.state == "done" else self.pixels_done / (self.width * self.height * self.scale**2)
        preview = self.preview
        described: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "ahead": ahead if self.state == "queued" else 0,
            "progress": round(share, 4),
            "seconds_left": self._seconds_left(share),
            "options": asdict(self.options),
            "input": {"width": self.width, "height": self.height, "bytes": self.source_bytes},
            "output": {"width": self.output_width, "height": self.output_height},
            "rows_done": round(preview.share() * self.output_height) if preview else 0,
            "weights": self.weights,
            "notes": list(self.notes),
            "error": self.error,
            "created": _as_time(self.created),
        }
        if self.state == "done":
            described["output"] |= {"name": self.result_name, "bytes": self.result_bytes, "type": self.media_type}
            described["result"] = f"/v1/jobs/{self.id}/result"
        return described

    def for_logs(self) -> dict[str, Any]:
        """What logs say of a finished job: nothing by which a picture or a client is known."""
        return {
            "state": self.state,
            "width": self.width,
            "height": self.height,
            "scale": self.scale,
            "bytes": self.source_bytes,
            "result_bytes": self.result_bytes,
            "seconds": round(self.finished - self.created, 3),
            "status": self.error_status or 200,
        }

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[PurePosixPath(self.result).suffix.lower()]

    def _seconds_left(self, share: float) -> float | None:
        if self.state != "running" or not share:
            return None
        return round((time.monotonic() - self.started) * (1 - share) / share, 1)


def _as_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def safe_name(given: str, suffix: str) -> str:
    """A file name from whatever a client sent: its last part, without what file systems and terminals dislike.

    Args:
        given: Any text, such as `../../holiday.jpg`.
        suffix: What the name ends in if its own suffix is not that of a picture.
    """
    last = re.split(r"[/\\]", given)[-1]
    kept = re.sub(r'[\x00-\x1f\x7f-\x9f<>:"|?*\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]', "", last)
    path = PurePosixPath(kept.strip(" .") or "picture")
    if path.suffix.lower() in INPUT_SUFFIXES:
        suffix = path.suffix
        path = path.with_suffix("")
    return path.name[:_LONGEST_NAME].strip(" .") + suffix
