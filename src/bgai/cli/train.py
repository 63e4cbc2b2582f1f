"""`bgai train`: train from an option file."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from bgai.cli.console import needing_extra
from bgai.cli.option_file import ForceYml, More, OptionFile, TryOut, read_options


def train(
    opt: OptionFile,
    auto_resume: Annotated[
        bool,
        typer.Option("--auto_resume", "--auto-resume", help="Go on from the newest complete state, if there is one."),
    ] = False,
    launcher: Annotated[
        Literal["none", "pytorch"], typer.Option(help="'pytorch' when started by torchrun, for several GPUs.")
    ] = "none",
    force_yml: ForceYml = None,
    more: More = None,
    debug: TryOut = False,
    local_rank: Annotated[int, typer.Option("--local_rank", "--local-rank", hidden=True)] = 0,  # torchrun sets it too
) -> None:
    """Train the network from an option file in BasicSR's layout.

    Weights, states, logs and curves are written to experiments/NAME, where NAME is in the option file. Ctrl-C saves
    the state; the same command with --auto_resume continues from there.

        bgai train -opt options/train/BGAI/photographs_x4.yml --auto_resume --force_yml train:minutes=60

    Needs the extra 'train'.
    """
    with needing_extra("train", "bgai train"):
        from bgai.options.training import TrainOptions
        from bgai.training.log_files import show_messages
        from bgai.training.run import train as train_from
    options = read_options(opt, TrainOptions, force_yml, more)
    if debug:
        options = options.for_trial()
    with show_messages(sys.stdout):
        train_from(options, auto_resume, launcher)
