"""`bgai prepare`: cut images into the sub-images that training reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bgai.cli.console import complain, note, progress_bar, tell


def prepare(
    hr: Annotated[
        Path,
        typer.Argument(
            metavar="HR_FOLDER", help="Folder of high-resolution images, searched to any depth.", show_default=False
        ),
    ],
    scale: Annotated[
        list[int] | None, typer.Option(help="2, 3 or 4; may be given several times.", show_default="all three")
    ] = None,
    lr: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the low-resolution images, in subfolders X2, X3 and X4. Those that are missing are made"
            " from the high-resolution images, as MATLAB's imresize makes them.",
            show_default="NAME_LR_bicubic beside NAME_HR",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Where the folders of sub-images go.", show_default="beside HR_FOLDER"),
    ] = None,
    crop: Annotated[int, typer.Option(help="Side of a high-resolution sub-image in pixels.")] = 480,
    step: Annotated[int, typer.Option(help="Distance from one sub-image to the next in pixels.")] = 240,
    workers: Annotated[
        int | None,
        typer.Option(help="How many images are worked on at a time.", show_default="one per CPU, at most 8"),
    ] = None,
    lmdb: Annotated[
        bool, typer.Option("--lmdb", help="Pack each folder of sub-images into an LMDB store too.")
    ] = False,
) -> None:
    """Cut images into the overlapping sub-images that training reads.

    Prints the folders that were made. After a stop, the same command continues with the next image.
    """
    from bgai.datasets.sub_images import PrepareSettings
    from bgai.datasets.sub_images import prepare as cut_sub_images
    from bgai.network.config import SCALES

    given: dict[str, Any] = {} if workers is None else {"workers": workers}
    settings = PrepareSettings(hr, tuple(scale or SCALES), lr, output, crop, step, lmdb=lmdb, **given)
    with progress_bar() as advance:
        result = cut_sub_images(settings, advance)
    for failure in result.failures:
        complain(failure)
    for folder in result.folders:
        tell(str(folder))
    parts = [f"{result.cut} cut"]
    if result.finished:
        parts.append(f"{result.finished} finished before")
    if result.failures:
        parts.append(f"{len(result.failures)} failed")
    note(", ".join(parts))
    if result.failures:
        raise typer.Exit(1)
