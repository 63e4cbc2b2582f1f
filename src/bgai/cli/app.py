"""The `bgai` command: its parts, and what becomes of errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from bgai._version import __version__
from bgai.cli import interrupts
from bgai.cli.bench import bench
from bgai.cli.console import complain, explain
from bgai.cli.export import export
from bgai.cli.info import info
from bgai.cli.prepare import prepare
from bgai.cli.runs import runs
from bgai.cli.serve import serve
from bgai.cli.settings_file import forget_replaced, read_settings
from bgai.cli.test import run_test
from bgai.cli.train import train
from bgai.cli.upscale import upscale
from bgai.cli.video import video
from bgai.cli.weights import weights
from bgai.errors import BgaiError


class _Messages(TyperGroup):
    """Turns errors into one line and an exit code; `--debug` lets the traceback through."""

    def invoke(self, ctx: Any) -> Any:
        try:
            interrupts.stop_in_order()
            super().invoke(ctx)
            interrupts.check()
        except KeyboardInterrupt:
            raise _stopped() from None
        except Exception as error:
            if interrupts.asked():  # a library made an error of the interrupt
                raise _stopped() from None
            if ctx.params["debug"] or not isinstance(error, (BgaiError, MemoryError, OSError)):
                raise
            complain(_describe(error, self.get_command(ctx, ctx.invoked_subcommand or "") or self))
            raise typer.Exit(1) from None


_KINDS = {"bool": "", "int": "NUMBER", "int range": "NUMBER", "float": "NUMBER", "path": "PATH", "Path": "PATH"}
_KINDS |= {"str": "TEXT"}


class _Command(TyperCommand):
    """Takes defaults from the settings file, and names values of options in words instead of Python's types."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)
        for each in params:
            if not hasattr(each, "display_type"):  # an older typer, which names them in words by itself
                continue
            if each.param_type_name == "argument":
                vars(each)["display_type_rich"] = lambda ctx: None
            elif each.metavar is None:
                kind = each.display_type(ctx).strip("<>").removeprefix("list[").removesuffix("]")
                each.metavar = _KINDS.get(kind, kind)
        return params

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        unseen = [each for each in self.params if getattr(each, "hidden", False)]
        hidden = {piece for each in unseen for piece in each.get_usage_pieces(ctx)}
        pieces = [piece for piece in super().collect_usage_pieces(ctx) if piece not in hidden]
        return [piece.replace("{", "").replace("}", "") for piece in pieces]

    def invoke(self, ctx: Any) -> Any:
        forget_replaced(ctx)
        return super().invoke(ctx)


def _stopped() -> typer.Exit:
    complain("stopped; what was finished is kept")
    return typer.Exit(130)


def _describe(error: BgaiError | MemoryError | OSError, command: Any) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'an output'}: {error.strerror or error}; --debug shows where"
    return explain(error, command)


def _manual(command: Callable[..., None]) -> str:
    """The docstring of a command with a line for each paragraph, so that it is wrapped to the terminal's width."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(part if part.startswith(" ") else part.replace("\n", " ") for part in paragraphs)


app = typer.Typer(
    cls=_Messages,
    help="Enlarge pictures two, three or four times by a neural network, sharply and without invented detail; train and"
    " test such networks. `bgai COMMAND -h` explains a command.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
_PICTURES, _MACHINE, _TRAINING = "Pictures and videos", "Weights and engines", "Training and testing"
for _name, _command, _panel in (
    ("upscale", upscale, _PICTURES),
    ("video", video, _PICTURES),
    ("serve", serve, _PICTURES),
    ("weights", weights, _MACHINE),
    ("export", export, _MACHINE),
    ("info", info, _MACHINE),
    ("bench", bench, _MACHINE),
    ("prepare", prepare, _TRAINING),
    ("train", train, _TRAINING),
    ("runs", runs, _TRAINING),
    ("test", run_test, _TRAINING),
):
    app.command(_name, cls=_Command, help=_manual(_command), rich_help_panel=_panel)(_command)


@app.callback(invoke_without_command=True)
def main_options(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,  # read by _Messages
) -> None:
    if version:
        typer.echo(f"bgai {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(2)
    ctx.default_map = read_settings(ctx.command)
