"""`bgai serve`."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

from bgai.cli.console import needing_extra, tell
from bgai.errors import MissingExtraError, UsageError


def serve(
    host: Annotated[str, typer.Option(help="Address to serve on; others than this machine's need a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port to serve on; 0 for one that is free.")] = 8765,
    token: Annotated[
        str,
        typer.Option(
            envvar="BGAI_TOKEN",
            help="What clients must show, at least 16 characters.",
            show_default="none on this machine alone, else a random one",
        ),
    ] = "",
    name: Annotated[
        list[str] | None, typer.Option(help="Host name that browsers ask for; may be given several times.")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser on the page.")] = True,
    folder: Annotated[
        Path | None, typer.Option(help="Folder for uploads and results.", show_default="in the cache")
    ] = None,
    keep_hours: Annotated[float, typer.Option(help="Time after which results are removed.")] = 24,
    keep_megabytes: Annotated[
        float, typer.Option(help="Size of uploads and results above which the oldest results are removed.")
    ] = 2000,
    max_megabytes: Annotated[float, typer.Option(help="Refuse larger uploads.")] = 100,
    max_megapixels: Annotated[float, typer.Option(help="Refuse larger pictures.")] = 50,
    queue: Annotated[int, typer.Option(help="Most pictures that wait at a time.")] = 200,
    rate: Annotated[int, typer.Option(help="Most uploads a minute from one address.")] = 1200,
    json_log: Annotated[
        bool,
        typer.Option(
            "--json-log",
            help="Write a JSON object on a line of standard error for each request and each finished picture,"
            " without names.",
        ),
    ] = False,
    static: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Serve nothing; write the page into a new folder of static files, for any web server. Browsers then"
            " enlarge pictures themselves. Needs the extra 'export'.",
        ),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="For --static: the npm package of onnxruntime-web, which runs networks in browsers.",
            show_default="fetched by npm, once",
        ),
    ] = None,
) -> None:
    """Open a page to drop pictures on, and serve the HTTP interface behind it."""
    if static is not None:
        with needing_extra("export", "a static page"):
            from bgai.web.static_folder import write_static_page
        write_static_page(static, tell, runtime)
        tell(str(static))
        return
    if runtime is not None:
        raise UsageError("a runtime is for a static page alone; leave it out", parameter="runtime")
    try:
        from bgai.web.server import serve as run
        from bgai.web.settings import ServiceSettings, is_loopback
        from bgai.weights.sources import cache_folder
    except ModuleNotFoundError as error:
        raise MissingExtraError("web", "bgai serve") from error
    if not token and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    settings = ServiceSettings(
        folder=folder or cache_folder() / "serve",
        host=host,
        port=port,
        token=token,
        names=tuple(name or ()),
        keep_hours=keep_hours,
        keep_megabytes=keep_megabytes,
        max_megabytes=max_megabytes,
        max_megapixels=max_megapixels,
        queue=queue,
        rate=rate,
    )
    run(settings, browser=browser, json_log=json_log, tell=lambda address: typer.echo(f"{address}  (Ctrl-C ends it)"))
