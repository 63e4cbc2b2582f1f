"""`bgai.toml`: defaults of options, in the current folder or else in the user's configuration."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Any

from bgai.errors import UsageError

NAME = "bgai.toml"
# What a call alone decides: a file that lies in a folder of somebody else's must not replace or name files.
_OF_A_CALL = {"inputs", "source", "output", "overwrite", "dry_run", "help"}
# Options of which one replaces the others.
_ALTERNATIVES = (
    {"scale", "factor", "width", "height", "fit", "long_edge", "megapixels"},
    {"weights", "clean"},
)


def read_settings(group: Any) -> dict[str, dict[str, Any]]:
    """Defaults of the commands' options by command and parameter, as click's `default_map` takes them.

    Args:
        group: The click group whose commands the tables of the file are named after.

    Raises:
        UsageError: The file is no TOML, or names a command or option that there is not.
    """
    path = next((path for path in _places() if path.is_file()), None)
    if path is None:
        return {}
    return {name: _options(path, name, values, group) for name, values in _parse(path).items()}


def _places() -> tuple[Path, Path]:
    import platformdirs

    return Path(NAME), platformdirs.user_config_path("bgai") / NAME


def _parse(path: Path) -> dict[str, Any]:
    if sys.version_info < (3, 11):
        raise UsageError(f"{path}: settings files need Python 3.11 or newer; move it away")
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error


def _options(path: Path, name: str, values: Any, group: Any) -> dict[str, Any]:
    command = group.commands.get(name)
    if command is None or not isinstance(values, dict):
        raise UsageError(f"{path}: [{name}] is no command; expected one of {', '.join(sorted(group.commands))}")
    known = {parameter.name for parameter in command.params} - _OF_A_CALL
    options = {key.replace("-", "_"): value for key, value in values.items()}
    for key in options.keys() - known:
        near = difflib.get_close_matches(key, known, 1)
        hint = f"; did you mean {near[0].replace('_', '-')}?" if near else ""
        if key in _OF_A_CALL:
            hint = ": the command line alone has it"
        raise UsageError(f"{path}: {key.replace('_', '-')} is no option of [{name}]{hint}")
    return options


def forget_replaced(ctx: Any) -> None:
    """Reset what the file says where the command line has another option in its stead, such as --width for scale."""
    for names in _ALTERNATIVES:
        options = [parameter for parameter in ctx.command.params if parameter.name in names]
        # By name: typer may bring a click of its own.
        sources = {option.name: ctx.get_parameter_source(option.name).name for option in options}
        if "COMMANDLINE" in sources.values():
            for option in options:
                if sources[option.name] == "DEFAULT_MAP":
                    ctx.params[option.name] = option.default
