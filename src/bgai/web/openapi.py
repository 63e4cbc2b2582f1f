"""The HTTP interface as an OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bgai._version import __version__
from bgai.upscaling.batch import FORMATS

_ID = "0f8fad5bd9cb469fa16570867728950e"
_CLIENT = "5f1c2d7e-0a4b-4a86-9d2e-7c7d4a1b9e10"

EXAMPLE_JOB: dict[str, Any] = {
    "id": _ID,
    "name": "cat.jpg",
    "state": "done",
    "ahead": 0,
    "progress": 1.0,
    "seconds_left": None,
    "options": {
        "scale": 4,
        "factor": None,
        "width": None,
        "height": None,
        "weights": "auto",
        "clean": None,
        "format": None,
        "quality": 95,
        "metadata": True,
    },
    "input": {"width": 451, "height": 300, "bytes": 15759},
    "output": {"width": 1804, "height": 1200, "name": "cat_x4.jpg", "bytes": 812345, "type": "image/jpeg"},
    "rows_done": 0,
    "weights": "photo weights: JPEG of quality about 60",
    "notes": [],
    "error": "",
    "created": "2026-01-31T12:00:00+00:00",
    "result": f"/v1/jobs/{_ID}/result",
}

_DESCRIPTIONS = {
    400: "The body is not what its type says.",
    401: "The token is missing or wrong.",
    403: "Another site asked.",
    404: "No such job, or no results.",
    408: "The upload stalled.",
    409: "The job has no result, or none yet.",
    413: "The upload or the picture is larger than the limit.",
    415: "Neither a picture of a kind that is read nor a form with one.",
    421: "The host is not a name of this service.",
    422: "An option has a value that is not allowed, or the picture cannot be enlarged.",
    429: "Too many requests in a minute; `Retry-After` says when to ask again.",
    503: "The queue or the disk is full, or memory is short; `Retry-After` says when to ask again.",
}
_OF_UPLOADS = (400, 408, 413, 415, 422, 429, 503)


def document() -> dict[str, Any]:
    """OpenAPI 3.1, with examples."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bgai serve",
            "version": __version__,
            "summary": "Enlarges pictures two, three or four times.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": _paths(),
        "components": {
            "schemas": {"Job": _job_schema(), "Error": _error_schema(), "Options": _options_schema()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _paths() -> dict[str, Any]:
    job = {"parameters": [_path_id()]}
    return {
        "/v1/upscale": {
            "post": _operation(
                "upscale",
                "Enlarge a picture and answer with the result. The job ends if the client goes away.",
                {200: _picture("The enlarged picture. `Bgai-Weights` says which weights were picked, and why.")},
                _OF_UPLOADS,
                upload=True,
            )
        },
        "/v1/jobs": {
            "post": _operation(
                "addJob",
                "Put a picture into the queue. Clients take turns.",
                {202: _json("The job; `Location` is its address.", _reference("Job"), EXAMPLE_JOB)},
                _OF_UPLOADS,
                upload=True,
            ),
            "get": _operation(
                "listJobs",
                "Jobs of a client, in the order in which they came.",
                {200: _json("The jobs.", _listed("jobs", _reference("Job")), {"jobs": [EXAMPLE_JOB]})},
                (422,),
                parameters=[_client(True)],
            ),
        },
        "/v1/jobs/{id}": job
        | {
            "get": _operation(
                "getJob", "How a job stands.", {200: _json("The job.", _reference("Job"), EXAMPLE_JOB)}, (404,)
            ),
            "delete": _operation(
                "deleteJob", "End a job and remove its files.", {204: {"description": "It is gone."}}, (404,)
            ),
        },
        "/v1/jobs/{id}/result": job
        | {"get": _operation("getResult", "The result.", {200: _picture("The enlarged picture.")}, (404, 409))},
        "/v1/jobs/{id}/source": job
        | {"get": _operation("getSource", "The upload as it came.", {200: _picture("The picture.")}, (404,))},
        "/v1/jobs/{id}/thumbnail": job
        | {
            "get": _operation(
                "getThumbnail",
                "The upload, 192 pixels long, as WebP.",
                {200: _picture("The thumbnail.")},
                (404, 422),
            )
        },
        "/v1/jobs/{id}/view": job
        | {
            "get": _operation(
                "getView",
                "A part of the result, or of a bicubic enlargement of the upload, that browsers can show.",
                {200: _picture("The part, with the pixels of the result in 8 bits.")},
                (404, 409, 422),
                parameters=_view_parameters(),
            )
        },
        "/v1/jobs/{id}/preview": job
        | {
            "get": _operation(
                "getPreview",
                "The finished rows of the result of a running job; of more than 4 megapixels some are left out.",
                {200: _picture("The rows from the top, as PNG of 8 bits.")},
                (404, 409),
            )
        },
        "/v1/jobs/{id}/events": job
        | {
            "get": _operation(
                "jobEvents", "Changes of a job as server-sent events, until it is done or failed.", _stream(), (404,)
            )
        },
        "/v1/events": {
            "get": _operation(
                "clientEvents",
                "Changes of all jobs of a client as server-sent events. A job that is gone has the state `removed`.",
                _stream(),
                (422,),
                parameters=[_client(True)],
            )
        },
        "/v1/results.zip": {
            "get": _operation(
                "resultsZip",
                "All results of a client in one archive, made while it is sent.",
                {200: {"description": "The archive.", "content": {"application/zip": {}}}},
                (404, 422),
                parameters=[_client(True)],
            )
        },
        "/v1/info": {
            "get": _operation(
                "getInfo", "Version, scales, weights, formats and limits.", {200: _json("They.", {"type": "object"})}
            )
        },
        "/v1/session": {
            "post": _operation(
                "openSession",
                "Get a cookie in place of the token, which is the body of the request.",
                {204: {"description": "The cookie is set."}},
                (413, 429),
            )
        },
        "/v1/openapi.json": {
            "get": _operation("getOpenapi", "This document.", {200: _json("It.", {"type": "object"})})
        },
        "/v1/metrics": {
            "get": _operation(
                "metrics", "Counts for Prometheus.", {200: {"description": "They.", "content": {"text/plain": {}}}}
            )
        },
        "/healthz": {
            "get": _operation(
                "healthz",
                "Whether the service is up. Needs no token.",
                {200: _json("It is.", {"type": "object"}, {"status": "ok", "queued": 0})},
            )
        },
    }


def _operation(
    id: str,
    summary: str,
    answers: Mapping[int, Any],
    errors: tuple[int, ...] = (),
    *,
    parameters: list[dict[str, Any]] | None = None,
    upload: bool = False,
) -> dict[str, Any]:
    failures = {status: _error(status) for status in (401, 403, 421, *errors)}
    described: dict[str, Any] = {
        "operationId": id,
        "summary": summary,
        "responses": {str(status): answer for status, answer in sorted((failures | dict(answers)).items())},
    }
    if upload:
        described["requestBody"] = _upload()
        parameters = [
            *(
                {"name": name, "in": "query", "schema": schema}
                for name, schema in _options_schema()["properties"].items()
            ),
            {"name": "name", "in": "query", "description": "Of a picture that is the body.", "schema": _TEXT},
            _client(False),
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Of a picture that may be sent again: the client's job of this key is not made anew.",
                "schema": {"type": "string", "pattern": "^[A-Za-z0-9-]{1,64}$"},
            },
        ]
    if parameters:
        described["parameters"] = parameters
    return described


_TEXT = {"type": "string"}


def _options_schema() -> dict[str, Any]:
    size = {"type": ["integer", "null"], "minimum": 1}
    return {
        "type": "object",
        "properties": {
            "scale": {"type": ["integer", "null"], "enum": [2, 3, 4, None], "default": 4},
            "factor": {"type": ["number", "null"], "minimum": 1, "maximum": 16, "description": "Instead of `scale`."},
            "width": size | {"description": "Of the result in pixels, instead of `scale`; the height follows."},
            "height": size | {"description": "The same; together with `width` a box that the result fits in."},
            "weights": {"type": "string", "enum": ["auto", "bgai", "photo", "official"], "default": "auto"},
            "clean": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            "format": {"type": ["string", "null"], "enum": [*FORMATS, None]},
            "quality": {"type": "integer", "minimum": 1, "maximum": 100, "default": 95},
            "metadata": {"type": "boolean", "default": True},
        },
    }


def _upload() -> dict[str, Any]:
    picture = {"type": "string", "contentMediaType": "application/octet-stream"}
    form = {
        "type": "object",
        "required": ["picture"],
        "properties": {"picture": picture, "client": _TEXT} | _options_schema()["properties"],
    }
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form, "example": {"picture": "(the file)", "scale": 4}},
            "image/*": {"schema": {}},
            "application/octet-stream": {"schema": {}},
        },
    }


def _job_schema() -> dict[str, Any]:
    number, whole = {"type": "number"}, {"type": "integer"}
    size = {"width": whole, "height": whole, "bytes": whole}
    properties: dict[str, Any] = {
        "id": _TEXT,
        "name": _TEXT | {"description": "Of the upload."},
        "state": {"type": "string", "enum": ["queued", "running", "done", "failed"]},
        "ahead": whole | {"description": "Jobs that come before this one."},
        "progress": number | {"minimum": 0, "maximum": 1},
        "seconds_left": {"type": ["number", "null"]},
        "options": _reference("Options"),
        "input": {"type": "object", "properties": size},
        "output": {"type": "object", "properties": size | {"name": _TEXT, "type": _TEXT}},
        "rows_done": whole | {"description": "Rows of the result that are finished while it is running."},
        "weights": _TEXT | {"description": "Which were picked, and why; empty if the options say which."},
        "notes": {"type": "array", "items": _TEXT, "description": "What could not be kept as it was."},
        "error": _TEXT | {"description": "One line, if the job failed."},
        "created": _TEXT | {"format": "date-time"},
        "result": _TEXT | {"description": "Address of the result, once the job is done."},
    }
    return {"type": "object", "required": sorted(properties.keys() - {"result"}), "properties": properties}


def _error_schema() -> dict[str, Any]:
    return {"type": "object", "required": ["error"], "properties": {"error": _TEXT | {"description": "One line."}}}


def _view_parameters() -> list[dict[str, Any]]:
    least = {"left": 0, "top": 0, "width": 1, "height": 1}
    part = [
        {"name": name, "in": "query", "description": "In pixels of the result.", "schema": whole}
        for name, whole in ((name, {"type": "integer", "minimum": start}) for name, start in least.items())
    ]
    return [{"name": "of", "in": "query", "schema": {"type": "string", "enum": ["result", "bicubic"]}}, *part]


def _client(required: bool) -> dict[str, Any]:
    return {
        "name": "client",
        "in": "query",
        "required": required,
        "description": "A label that the client made up for its jobs, which nobody should be able to guess.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9-]{1,64}$"},
        "example": _CLIENT,
    }


def _path_id() -> dict[str, Any]:
    return {"name": "id", "in": "path", "required": True, "schema": _TEXT, "example": _ID}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _listed(name: str, items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": "array", "items": dict(items)}}}


def _json(description: str, schema: Mapping[str, Any], example: object = None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": dict(schema)}
    if example is not None:
        content["example"] = example
    return {"description": description, "content": {"application/json": content}}


def _picture(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"image/*": {}}}


def _stream() -> dict[int, Any]:
    return {200: {"description": "Events `job`, each with a job as JSON.", "content": {"text/event-stream": {}}}}


def _error(status: int) -> dict[str, Any]:
    return _json(_DESCRIPTIONS[status], _reference("Error"), {"error": _DESCRIPTIONS[status].rstrip(".").lower()})
