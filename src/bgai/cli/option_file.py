"""What `bgai train` and `bgai test` have in common: an option file, and options given in place of the file's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bgai.errors import UsageError

if TYPE_CHECKING:
    from bgai.options.yaml_file import Options

OptionFile = Annotated[Path, typer.Option("-opt", "--opt", help="The option file, in YAML.", show_default=False)]
ForceYml = Annotated[
    list[str] | None,
    typer.Option(
        "--force_yml",
        "--force-yml",
        metavar="KEY:KEY=VALUE ...",
        help="Options in place of the file's, such as  train:minutes=60 name=mine",
    ),
]
TryOut = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="BasicSR's: a trial named debug_NAME; a training validates and saves every 8 iterations and logs each.",
    ),
]
More = Annotated[list[str] | None, typer.Argument(hidden=True)]
"""What follows the first value of `ForceYml`."""


def read_options(path: Path, kind: type[Options], force_yml: list[str] | None, more: list[str] | None) -> Options:
    """Read an option file.

    Raises:
        BgaiError: It cannot be read, or an option is wrong.
    """
    from bgai.options.yaml_file import read_options as read

    if more and not force_yml:
        raise UsageError(f"{more[0]}: expected nothing here; options of the file are replaced by --force_yml")
    return read(path, kind, [*(force_yml or []), *(more or [])])
