"""Jobs on disk: a folder for each, with the upload, the result and `job.json`, so that a restart finds them again."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from bgai.atomic_files import whole_or_nothing
from bgai.errors import BgaiError, OutputError
from bgai.web.job import Job, JobOptions

_FILE = "job.json"
_NOT_STORED = ("pixels_done", "started", "stop", "preview")
_ID = re.compile(r"[0-9a-f]{32}")


class JobFolder:
    """The folder of a service's jobs.

    Raises:
        OutputError: It cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
            root.chmod(0o700)
        except OSError as error:
            raise OutputError(
                f"{root}: cannot be made a folder: {error.strerror or error}", parameter="folder"
            ) from error

    def new(self) -> tuple[str, Path]:
        """An id that nobody can guess, and its folder."""
        id = secrets.token_hex(16)
        folder = self.path(id)
        folder.mkdir()
        return id, folder

    def path(self, id: str) -> Path:
        return self.root / id

    def save(self, job: Job) -> None:
        """Write `job.json`; what of it lasts for a run alone is left out.

        Raises:
            OutputError: The disk is full.
        """
        stored = {name: getattr(job, name) for name in Job.__slots__ if name not in _NOT_STORED}
        with whole_or_nothing(self.path(job.id) / _FILE) as partial:
            partial.write_text(json.dumps(stored | {"options": asdict(job.options)}), encoding="utf-8")

    def load(self) -> Iterator[Job]:
        """The jobs of earlier runs, oldest first; what is none is removed, and interrupted ones are to be done anew."""
        jobs = []
        for folder in self.root.iterdir():
            if not _ID.fullmatch(folder.name):
                continue
            try:
                stored = json.loads((folder / _FILE).read_text(encoding="utf-8"))
                job = Job(**stored | {"options": JobOptions(**stored["options"]), "notes": tuple(stored["notes"])})
            except (OSError, ValueError, TypeError, KeyError, BgaiError):
                self.remove(folder.name)
                continue
            if not job.is_final:
                job.state = "queued"
            jobs.append(job)
        yield from sorted(jobs, key=lambda job: job.created)

    def remove(self, id: str) -> None:
        with suppress(OSError):
            shutil.rmtree(self.path(id))
