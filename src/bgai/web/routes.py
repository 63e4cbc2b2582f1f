"""The HTTP interface: one function a route, and the application made of them."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from bgai._version import __version__
from bgai.errors import BgaiError, UsageError
from bgai.network.config import SCALES
from bgai.pictures.reading import INPUT_SUFFIXES
from bgai.upscaling.batch import FORMATS
from bgai.web.guard import COOKIE, Guard, cookie_value, refused, same
from bgai.web.job import Job, JobOptions
from bgai.web.logs import RequestLog
from bgai.web.openapi import document
from bgai.web.service import RefusedError, Service, check_label
from bgai.web.settings import ServiceSettings
from bgai.web.uploads import read_upload
from bgai.web.views import MOST_PIXELS, Part, bicubic_view, result_view, thumbnail
from bgai.web.zip_stream import zip_stream
from bgai.weights.sources import SHIPPED_NAMES, shipped_scales

PAGE = Path(__file__).parent / "page"
_KINDS = ("PNG", "JPEG", "WebP", "TIFF", "AVIF", "GIF", "BMP")
_VIEWS_AT_ONCE = 2
_SHOWN_BY_BROWSERS = ("image/png", "image/jpeg", "image/webp")
_GONE = 499  # nobody is there to read it


def make_app(settings: ServiceSettings) -> Starlette:
    """The page and the service as an ASGI application.

    Raises:
        OutputError: The folder of the jobs cannot be made.
    """
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    app = Starlette(
        routes=[*API, Mount("/", StaticFiles(directory=PAGE, html=True))],
        middleware=[Middleware(RequestLog), Middleware(Guard, settings=settings)],
        exception_handlers={
            RefusedError: _answer_refusal,
            BgaiError: _answer_error,
            HTTPException: _answer_http_error,
            ClientDisconnect: _answer_nobody,
            OSError: _answer_full_disk,
        },
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.views = asyncio.Semaphore(_VIEWS_AT_ONCE)
    return app


async def upscale(request: Request) -> Response:
    """Enlarge a picture and answer with it; the job ends if the client goes away."""
    service = _service(request)
    job = await _take_in(request)
    try:
        await _finish(service, job, request)
        if job.state == "failed":
            raise RefusedError(job.error_status, job.error)
    except BaseException:
        service.remove(job)
        raise
    headers = {"bgai-weights": job.weights.encode("ascii", "replace").decode()} if job.weights else {}
    return _result(service, job, headers, BackgroundTask(service.remove, job))


async def _finish(service: Service, job: Job, request: Request) -> None:
    """Wait for the end of a job.

    Raises:
        ClientDisconnect: The client has gone away.
        RefusedError: The service ends.
    """
    gone = asyncio.ensure_future(request.receive())  # after the body, this returns when the client goes away
    try:
        while not job.is_final:
            if service.closing:
                raise RefusedError(503, "the service is ending; ask again later", 5)
            change = asyncio.create_task(service.change())
            await asyncio.wait({gone, change}, return_when=asyncio.FIRST_COMPLETED)
            change.cancel()
            if gone.done():
                raise ClientDisconnect
    finally:
        gone.cancel()


async def add_job(request: Request) -> Response:
    """Put a picture into the queue."""
    job = await _take_in(request)
    headers = {"location": f"/v1/jobs/{job.id}"}
    return JSONResponse(_service(request).for_clients([job])[0], 202, headers)


async def list_jobs(request: Request) -> Response:
    """A client's jobs."""
    service = _service(request)
    return JSONResponse({"jobs": service.for_clients(service.jobs_of(_client(request)))})


async def get_job(request: Request) -> Response:
    """How a job stands."""
    return JSONResponse(_service(request).for_clients([_job(request)])[0])


async def delete_job(request: Request) -> Response:
    """End a job, and remove its files."""
    _service(request).remove(_job(request))
    return Response(status_code=204)


async def get_result(request: Request) -> Response:
    """The enlarged picture."""
    return _result(_service(request), _done(request), {})


async def get_source(request: Request) -> Response:
    """The upload, as it came."""
    job = _job(request)
    return FileResponse(_service(request).folder.path(job.id) / job.source, filename=job.name)


async def get_thumbnail(request: Request) -> Response:
    """A small picture of the upload."""
    job = _job(request)
    source = _service(request).folder.path(job.id) / job.source
    async with request.app.state.views:
        return _cached(await asyncio.to_thread(thumbnail, source), "image/webp")


async def get_view(request: Request) -> Response:
    """A part of the result, or of a bicubic enlargement, for a browser to show."""
    of = request.query_params.get("of", "result")
    if of not in ("result", "bicubic"):
        raise UsageError(f"of {of[:40]!r}: expected result or bicubic")
    job = _done(request) if of == "result" else _job(request)
    part = _part(request, job)
    folder = _service(request).folder.path(job.id)
    size = job.output_height, job.output_width
    async with request.app.state.views:
        if of == "bicubic":
            return _cached(await asyncio.to_thread(bicubic_view, folder / job.source, size, part), "image/png")
        whole = (part.height, part.width) == size
        if whole and job.media_type in _SHOWN_BY_BROWSERS:
            return FileResponse(folder / job.result, media_type=job.media_type, headers=_CACHED)
        return _cached(await asyncio.to_thread(result_view, folder / job.result, part), "image/png")


async def get_preview(request: Request) -> Response:
    """The finished rows of a running job's result."""
    job = _job(request)
    preview = job.preview
    async with request.app.state.views:
        content = await asyncio.to_thread(preview.png) if preview else None
    if content is None:
        raise RefusedError(409, f"{job.name}: is {job.state}; there are no rows to show")
    return Response(content, media_type="image/png", headers={"cache-control": "no-store"})


async def job_events(request: Request) -> Response:
    """A job's changes as server-sent events, to its end."""
    job = _job(request)
    return _events(_service(request).changes(job.client, job.id))


async def client_events(request: Request) -> Response:
    """Changes of all of a client's jobs as server-sent events."""
    return _events(_service(request).changes(_client(request)))


async def results_zip(request: Request) -> Response:
    """All of a client's results in one archive."""
    service = _service(request)
    done = [job for job in service.jobs_of(_client(request)) if job.state == "done"]
    if not done:
        raise RefusedError(404, "no results yet")
    files = [(job.result_name, service.folder.path(job.id) / job.result) for job in done]
    headers = {"content-disposition": 'attachment; filename="enlarged.zip"', "cache-control": "no-store"}
    return StreamingResponse(zip_stream(files), media_type="application/zip", headers=headers)


async def get_info(request: Request) -> Response:
    """What the service can do, and its limits."""
    settings = _service(request).settings
    return JSONResponse(
        {
            "version": __version__,
            "scales": list(SCALES),
            "weights": {name: list(shipped_scales(name)) for name in SHIPPED_NAMES},
            "formats": sorted({suffix[1:] for suffix in FORMATS.values()}),
            "kinds": _kinds(),
            "suffixes": list(INPUT_SUFFIXES),
            "limits": {
                "bytes": settings.max_bytes,
                "pixels": settings.max_pixels,
                "queue": settings.queue,
                "view_pixels": MOST_PIXELS,
                "keep_hours": settings.keep_hours,
            },
        }
    )


def _kinds() -> list[str]:
    """Of pictures that are read here; two need an extra."""
    extras = {"HEIC": "pi_heif", "JPEG XL": "pillow_jxl"}
    return [*_KINDS, *(kind for kind, module in extras.items() if importlib.util.find_spec(module))]


async def open_session(request: Request) -> Response:
    """Give a browser that knows the token a cookie in its place."""
    settings = _service(request).settings
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > 1000:
            raise RefusedError(413, "a session: expected the token alone")
    response = Response(status_code=204)
    if settings.token:
        if not same(body.decode("utf-8", "replace").strip(), settings.token):
            raise RefusedError(401, "that is not the token of this service")
        response.set_cookie(COOKIE, cookie_value(settings.token), httponly=True, samesite="strict", path="/")
    return response


async def get_openapi(_: Request) -> Response:
    """The description of this interface."""
    return JSONResponse(document())


async def healthz(request: Request) -> Response:
    """Whether the service is up, and how many pictures wait."""
    return JSONResponse({"status": "ok", "queued": len(_service(request).queue)}, headers={"cache-control": "no-store"})


async def metrics(request: Request) -> Response:
    """Counts in the text format of Prometheus."""
    service = _service(request)
    lines = [
        "# TYPE bgai_jobs_total counter",
        *(f'bgai_jobs_total{{state="{state}"}} {count}' for state, count in service.counts.items()),
        "# TYPE bgai_queued gauge",
        f"bgai_queued {len(service.queue)}",
        "# TYPE bgai_stored_bytes gauge",
        f"bgai_stored_bytes {sum(job.bytes for job in service.jobs.values())}",
    ]
    return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


API = [
    Route("/v1/upscale", upscale, methods=["POST"]),
    Route("/v1/jobs", add_job, methods=["POST"]),
    Route("/v1/jobs", list_jobs, methods=["GET"]),
    Route("/v1/jobs/{id}", get_job, methods=["GET"]),
    Route("/v1/jobs/{id}", delete_job, methods=["DELETE"]),
    Route("/v1/jobs/{id}/result", get_result, methods=["GET"]),
    Route("/v1/jobs/{id}/source", get_source, methods=["GET"]),
    Route("/v1/jobs/{id}/thumbnail", get_thumbnail, methods=["GET"]),
    Route("/v1/jobs/{id}/view", get_view, methods=["GET"]),
    Route("/v1/jobs/{id}/preview", get_preview, methods=["GET"]),
    Route("/v1/jobs/{id}/events", job_events, methods=["GET"]),
    Route("/v1/events", client_events, methods=["GET"]),
    Route("/v1/results.zip", results_zip, methods=["GET"]),
    Route("/v1/info", get_info, methods=["GET"]),
    Route("/v1/session", open_session, methods=["POST"]),
    Route("/v1/openapi.json", get_openapi, methods=["GET"]),
    Route("/v1/metrics", metrics, methods=["GET"]),
    Route("/healthz", healthz, methods=["GET"]),
]

_CACHED = {"cache-control": "private, max-age=3600, immutable"}


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _take_in(request: Request) -> Job:
    """Make a job of the picture in a request."""
    service = _service(request)
    service.check_room()
    id, folder = service.folder.new()
    try:
        name, fields = await read_upload(request, folder / "upload")
        label = fields.pop("client", "")
        client = check_label("client", label) if label else f"@{request.client.host if request.client else ''}"
        key = request.headers.get("idempotency-key", "")
        if key:
            check_label("Idempotency-Key", key)
        return await service.add(client, id, name, JobOptions.from_fields(fields), key)
    except BaseException:
        service.folder.remove(id)
        raise


def _client(request: Request) -> str:
    return check_label("client", request.query_params.get("client", ""))


def _job(request: Request) -> Job:
    return _service(request).find(request.path_params["id"])


def _done(request: Request) -> Job:
    job = _job(request)
    if job.state != "done":
        raise RefusedError(409, f"{job.name}: is {job.state}; there is no result")
    return job


def _part(request: Request, job: Job) -> Part:
    defaults = {"left": 0, "top": 0, "width": job.output_width, "height": job.output_height}
    given = {name: request.query_params.get(name, str(default)) for name, default in defaults.items()}
    for name, value in given.items():
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise UsageError(f"{name} {value[:40]!r}: expected a whole number")
    part = Part(**{name: int(value) for name, value in given.items()})
    part.check(defaults["width"], defaults["height"])
    return part


def _result(
    service: Service, job: Job, headers: Mapping[str, str], background: BackgroundTask | None = None
) -> FileResponse:
    return FileResponse(
        service.folder.path(job.id) / job.result,
        headers=headers,
        media_type=job.media_type,
        filename=job.result_name,
        background=background,
    )


def _cached(content: bytes, media_type: str) -> Response:
    return Response(content, media_type=media_type, headers=_CACHED)


def _events(changes: AsyncIterator[Mapping[str, Any] | None]) -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        async for change in changes:
            yield ": nothing new\n\n" if change is None else f"event: job\ndata: {json.dumps(change)}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _answer_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return refused(error)


async def _answer_error(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 422)


async def _answer_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


async def _answer_nobody(_: Request, error: Exception) -> Response:
    return Response(status_code=_GONE)


async def _answer_full_disk(_: Request, error: Exception) -> Response:
    """Said without the path that the error names."""
    reason = ""
    with suppress(AttributeError):
        reason = error.strerror or ""  # type: ignore[attr-defined]
    return JSONResponse({"error": f"the service cannot store or read files: {reason or 'no reason given'}"}, 503)
