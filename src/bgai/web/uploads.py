"""The body of a request to a picture on disk: a form, or the picture itself."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from bgai.errors import UsageError
from bgai.web.service import RefusedError

FIELD = "picture"
_MOST_FIELDS = 20
_LONGEST_FIELD = 4096  # bytes


async def read_upload(request: Request, target: Path) -> tuple[str, dict[str, str]]:
    """Write the picture of a request to a file; return its name and the fields that came with it.

    The picture is the one file of a form (`multipart/form-data`) or the body itself (`image/…` or
    `application/octet-stream`). Other fields are those of the form and of the query; `name` is that of the picture.

    Raises:
        RefusedError: The body is of another type.
        UsageError: The form has no picture, or several.
    """
    fields = dict(request.query_params)
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=_MOST_FIELDS, max_part_size=_LONGEST_FIELD) as form:
            fields |= {name: value for name, value in form.items() if isinstance(value, str)}
            picture = _picture(form)
            await asyncio.to_thread(_copy, picture, target)
            return fields.pop("name", "") or picture.filename or "", fields
    if not kind.startswith("image/") and kind != "application/octet-stream":
        raise RefusedError(
            415, f"a body of type {kind[:60] or 'unknown'!r}: expected a form with a picture, or a picture itself"
        )
    size = 0
    with target.open("wb") as file:
        async for part in request.stream():
            size += file.write(part)
    if not size:
        raise UsageError(f"no picture in the request; expected one as its body, or as {FIELD!r} of a form")
    return fields.pop("name", ""), fields


def _picture(form: FormData) -> UploadFile:
    picture = form.get(FIELD)
    if not isinstance(picture, UploadFile) or not picture.size:
        raise UsageError(f"no picture in the form; expected a file in the field {FIELD!r}")
    return picture


def _copy(picture: UploadFile, target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(picture.file, file, 2**20)
