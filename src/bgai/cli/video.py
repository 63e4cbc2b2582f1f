"""`bgai video`: enlarge a video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bgai.choices import VideoCodec
from bgai.cli import interrupts
from bgai.cli.console import needing_extra, note, progress_bar
from bgai.cli.network_options import (
    SPEED_PANEL,
    WEIGHTS_PANEL,
    CleanOption,
    DeviceOption,
    EngineOption,
    PrecisionOption,
)
from bgai.cli.upscale import name_output
from bgai.cli.weights import find_weights

if TYPE_CHECKING:
    from bgai.upscaling.upscaler import Upscaler
    from bgai.video.files import VideoPlan

_OUTPUT = "Output"
# Of outputs for inputs whose own kind cannot be written.
_OTHER_SUFFIX = ".mkv"


def video(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A video file.", show_default=False)],
    scale: Annotated[int, typer.Option(min=2, max=4, help="How many times the width and height: 2, 3 or 4.")] = 4,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Enlarge a damaged or cut video too, as far as it can be decoded.")
    ] = False,
    deinterlace: Annotated[
        bool,
        typer.Option(
            "--deinterlace",
            help="Take the comb lines out of interlaced frames, as of old tapes and broadcasts, before.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="File for the result. Its ending sets the kind: .mp4, .m4v, .mov, .mkv or .webm.",
            show_default="NAME_x4 beside the input, .mkv where its kind cannot be written",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an output that exists.", rich_help_panel=_OUTPUT)
    ] = False,
    codec: Annotated[
        VideoCodec | None,
        typer.Option(
            help="How frames are compressed. 'ffv1' loses nothing and makes very large files; 'prores' is for editing.",
            show_default="h264, or hevc from 10 bits; in .webm vp9 or av1",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    crf: Annotated[
        int | None,
        typer.Option(
            help="Quality of h264 and hevc, 0 to 51, and of av1 and vp9, 0 to 63: the lower, the better and larger.",
            show_default="18, 20, 24 and 20",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="'photo' for compressed or noisy videos, 'bgai' for clean ones, 'auto' for 'bgai' if the video was"
            " compressed without loss and 'photo' if not, 'official' for the authors' weights (downloaded once), or a"
            " .safetensors, .pth or .onnx file.",
            rich_help_panel=WEIGHTS_PANEL,
        ),
    ] = "auto",
    clean: CleanOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "float32",
    tile: Annotated[
        int | None,
        typer.Option(
            help="Frames are enlarged in square tiles: the side of one in input pixels, a multiple of 16. Smaller tiles"
            " need less memory; 0 takes the whole frame at once.",
            show_default="as large as the memory allows",
            rich_help_panel=SPEED_PANEL,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
) -> None:
    """Enlarge a video.

    Each frame is enlarged as a picture. Sound, subtitles, chapters and attachments are copied; when each frame is
    shown, rotation, colours and the shape of pixels stay as they are. This takes long: without a GPU, hours for a
    minute of film.

        bgai video clip.mp4                           clip_x4.mp4 beside it
        bgai video film.mkv -o big.mkv --scale 2      another name and scale
        bgai video film.mkv -o big.mkv --codec av1    compressed by another codec

    A run that was stopped goes on where it was when the same command is given again: what is finished waits in a
    hidden folder beside the output. The output appears when it is whole.

    Needs the extra 'video'.

    Exit code: 0 if the video was enlarged, 1 if not, 130 if stopped.
    """
    with needing_extra("video", "bgai video"):
        from bgai.video.files import plan_video, suits_photo
    from bgai.upscaling.memory_plan import COMMAND_MEMORY
    from bgai.upscaling.upscaler import Upscaler

    target = output or _default_target(source, scale)
    with interrupts.deferred(), progress_bar(transient=True, hidden=quiet) as advance:
        plan = plan_video(
            source,
            target,
            scale,
            codec=codec,
            crf=crf,
            deinterlace=deinterlace,
            overwrite=overwrite,
            lenient=lenient,
            progress=advance,
        )
    picked = weights == "auto" and clean is None
    if picked:
        weights = "photo" if suits_photo(plan.scanned) else "bgai"
    found = find_weights(None if clean is not None else weights, scale, clean)
    upscaler = Upscaler(scale, found, engine, device, tile=tile, precision=precision, memory=COMMAND_MEMORY)
    for each in () if quiet else plan.notes:
        note(f"{source}: {each}")
    _enlarge(plan, upscaler, f"{weights} weights: {plan.scanned.codec}" if picked else "", quiet)


def _default_target(source: Path, scale: int) -> Path:
    from bgai.video.encoding import CONTAINERS

    suffix = source.suffix if source.suffix.lower() in CONTAINERS else _OTHER_SUFFIX
    return source.parent / f"{source.stem}_x{scale}{suffix}"


def _enlarge(plan: VideoPlan, upscaler: Upscaler, picked: str, quiet: bool) -> None:
    """Do the work under a progress bar, and say what was done."""
    from bgai.video.files import run_video

    with interrupts.deferred(), progress_bar(hidden=quiet) as advance:
        done = run_video(plan, upscaler, advance)
    if quiet:
        return
    for each in done.notes:
        note(f"{plan.source}: {each}")
    name_output(done.target, picked)
    parts = [f"{done.frames} frames"]
    if done.repeated:
        parts.append(f"{done.repeated} the same as the one before")
    if done.resumed:
        parts.append(f"{done.resumed} finished before")
    note(", ".join(parts))
