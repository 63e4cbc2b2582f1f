"""The manual page of `bgai`, from the help of its commands.

python -m bgai.cli.manual > share/man/man1/bgai.1
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from bgai.cli.app import app

_ENVIRONMENT = {
    "BGAI_CACHE": "The folder of downloaded weights and compiled graphs, instead of one in the user's cache.",
    "BGAI_OFFICIAL_URL": "Addresses of folders, with spaces between them, to download the authors' weights from.",
    "BGAI_TOKEN": "What clients of bgai serve must show.",
}
_FILES = {
    "bgai.toml": "Other defaults for options, in the current folder or else in that of the user's configuration"
    " (~/.config/bgai on Linux): a table for each command, such as [upscale], with lines such as scale = 2.",
}
_EXIT = {
    "0": "All was done.",
    "1": "Something failed, as a message says.",
    "2": "The command line is wrong.",
    "130": "A signal stopped it.",
}


def manual_page() -> str:
    """The page in roff, for `man`."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    from typer.main import get_command

    group: Any = get_command(app)
    context = group.context_class(group, info_name="bgai", **group.context_settings)
    yield '.TH BGAI 1 "" "bgai" "User Commands"'
    yield from (".SH NAME", "bgai \\- enlarge pictures and videos by a neural network")
    yield from (".SH SYNOPSIS", ".B bgai", _text("[OPTIONS] COMMAND [ARGS]..."))
    yield from (".SH DESCRIPTION", _text(group.help.replace("`", "")))
    yield ".SH OPTIONS"
    for option in group.get_params(context):
        yield from _option(option, context)
    yield ".SH COMMANDS"
    for name in group.list_commands(context):
        yield from _command(group.get_command(context, name), name, context)
    for heading, entries in (("ENVIRONMENT", _ENVIRONMENT), ("FILES", _FILES), ("EXIT STATUS", _EXIT)):
        yield f".SH {heading}"
        for term, text in entries.items():
            yield from (".TP", f".B {_text(term)}", _text(text))


def _command(command: Any, name: str, parent: Any) -> Iterator[str]:
    context = command.context_class(command, parent=parent, info_name=name)
    params = [each for each in command.get_params(context) if not getattr(each, "hidden", False)]
    yield f".SS {_text(' '.join(['bgai', name, *command.collect_usage_pieces(context)]))}"
    for paragraph in command.help.split("\n\n"):
        if paragraph.startswith(" "):
            yield from (".PP", ".nf", *(_text(line) for line in paragraph.splitlines()), ".fi")
        else:
            yield from (".PP", _text(paragraph.replace("`", "")))
    for each in params:
        if each.name != "help":
            yield from _option(each, context)


def _option(option: Any, context: Any) -> Iterator[str]:
    if option.param_type_name == "argument":
        names = option.metavar or option.name
    else:
        opts = sorted(option.opts, key=len)  # those of --help come in any order
        names = ", ".join([*opts, *option.secondary_opts])
        names += f" {option.metavar}" if option.metavar else ""
    default = option.show_default if isinstance(option.show_default, str) else option.default
    shown = isinstance(option.show_default, str) or (option.show_default and default not in (None, False, True, ()))
    text = f"{option.help or ''}{f' Default: {default}.' if shown else ''}"
    yield from (".TP", f".B {_text(names)}", _text(text))


def _text(text: str) -> str:
    """Text that roff takes for nothing else, in ASCII."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = "".join(each if each.isascii() else f"\\[u{ord(each):04X}]" for each in escaped)
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped


if __name__ == "__main__":
    sys.stdout.write(manual_page())
