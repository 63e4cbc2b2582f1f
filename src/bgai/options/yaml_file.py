"""Option files in BasicSR's layout, parsed once into typed, frozen settings.

A key that does not exist is an error that names the line and the nearest key that does. A value of `~` (null) means
the default. The other modules of this room say which keys there are.

YAML can say little and mean much: aliases of aliases multiply, and an alias may lie within itself. What a file expands
to is bounded before any of it is built.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from bgai.errors import UsageError

_MAX_BYTES = 1_000_000
_MAX_NODES = 20_000
_MAX_DEPTH = 50
_MAX_LENGTH = 4_000
_MAX_INTEGER = 2**63 - 1
_SHOWN = 200  # characters of a wrong option that messages repeat
_NEAR = 0.75  # how like an unknown key a known one must be to be named, by difflib's ratio


class Section(BaseModel):
    """One level of an option file: no unknown keys, nothing changes later, null means the default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, values: object) -> object:
        if values is None:
            return {}
        if isinstance(values, Mapping):
            return {key: value for key, value in values.items() if value is not None}
        return values


Options = TypeVar("Options", bound=Section)


def read_options(path: Path, kind: type[Options], overrides: Iterable[str] = ()) -> Options:
    """Parse an option file.

    Args:
        path: A YAML file.
        kind: What the file is for, such as `TrainOptions`.
        overrides: `a:b=value` replaces or adds the key b below a; values are YAML.

    Raises:
        UsageError: The file is missing or no YAML, or a key or value is wrong; a line for each of these, with the
            line in the file.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(text) > _MAX_BYTES:
        raise UsageError(f"{path}: more than {_MAX_BYTES // 1000} kB; expected an option file")
    root, values = _parse(text, str(path))
    if not isinstance(values, dict) or root is None:
        raise UsageError(f"{path}: expected an option file with keys such as 'name' and 'scale'")
    overrides = tuple(overrides)
    for override in overrides:
        _apply(override, values)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UsageError("\n".join(dict.fromkeys(_messages(error, path, root, kind, overrides)))) from error


def _parse(text: str, place: str) -> tuple[yaml.Node | None, Any]:
    """The nodes of a YAML text, and the values that they stand for.

    Args:
        text: The YAML.
        place: What messages begin with.

    Raises:
        UsageError: It is no YAML, or stands for more than an option file can say.
    """
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None, None
        _check_node(root, place, _Budget())
        return root, loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{place}:{line}: not YAML: {error.problem or error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{place}: not YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise UsageError(f"{place}: nested more than {_MAX_DEPTH} deep; expected an option file") from error
    except AttributeError as error:  # of PyYAML, where a tag calls a text a date
        raise UsageError(f"{place}: not YAML: a date that there is not") from error
    except (ValueError, OverflowError, TypeError, LookupError) as error:  # a date or number that there is not
        raise UsageError(f"{place}: not YAML: {textwrap.shorten(str(error), 100)}") from error


class _Budget:
    """How many more nodes a text may stand for; an alias counts as all that it repeats."""

    def __init__(self) -> None:
        self.nodes = _MAX_NODES


def _check_node(node: yaml.Node, place: str, budget: _Budget, parents: tuple[int, ...] = ()) -> None:
    """Refuse aliases without end, values without measure, and repeated keys, of which YAML takes the last."""
    where = f"{place}:{node.start_mark.line + 1}"
    budget.nodes -= 1
    if id(node) in parents:
        raise UsageError(f"{where}: an alias of what it lies in; expected a value")
    if budget.nodes < 0:
        raise UsageError(f"{where}: its aliases stand for more than {_MAX_NODES:,} values; expected an option file")
    if len(parents) > _MAX_DEPTH:
        raise UsageError(f"{where}: nested more than {_MAX_DEPTH} deep; expected an option file")
    inside = (*parents, id(node))
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(node, where)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_node(value, place, budget, inside)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise UsageError(f"{place}:{line}: not YAML: a key that is no text")
            if key.value in seen and key.value != "<<":
                raise UsageError(f"{place}:{line}: {key.value!r} is there already, in line {seen[key.value]}")
            seen[key.value] = line
            _check_node(key, place, budget, inside)
            _check_node(value, place, budget, inside)


def _check_scalar(node: yaml.ScalarNode, where: str) -> None:
    if len(node.value) > _MAX_LENGTH:
        raise UsageError(f"{where}: a value of {len(node.value):,} characters; expected at most {_MAX_LENGTH:,}")
    if node.tag == "tag:yaml.org,2002:int":
        try:
            number = yaml.SafeLoader("").construct_yaml_int(node)
        except (ValueError, LookupError):
            number = _MAX_INTEGER + 1
        if abs(number) > _MAX_INTEGER:
            raise UsageError(f"{where}: {textwrap.shorten(node.value, 40)!r} is no number below 2^63")


def _apply(override: str, values: dict[str, Any]) -> None:
    keys, equals, value = override.partition("=")
    *sections, last = keys.split(":")
    shown = textwrap.shorten(override, _SHOWN)
    if not equals or not last:
        raise UsageError(f"--force_yml {shown}: expected keys and a value, such as train:optim_g:lr=1e-4")
    parsed: Any
    try:
        _, parsed = _parse(value, f"--force_yml {textwrap.shorten(keys, _SHOWN)}")
    except UsageError as error:
        if not isinstance(error.__cause__, yaml.YAMLError):
            raise
        parsed = value  # a text such as @name, which YAML reserves
    for section in sections:
        below = values.setdefault(section, {})
        if below is None:
            below = values[section] = {}
        if not isinstance(below, dict):
            raise UsageError(f"--force_yml {shown}: {section!r} is a value, not a section")
        values = below
    values[last] = parsed


def _messages(
    error: ValidationError, path: Path, root: yaml.Node, kind: type[Section], overrides: Iterable[str]
) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        keys = [str(part) for part in problem["loc"]]
        line, present = _line(root, keys)
        where = f"{path}:{line}: {':'.join(present)}".removesuffix(": ")
        for override in overrides:
            parts = override.partition("=")[0].split(":")
            made_it = problem["type"] == "extra_forbidden" and parts[: len(keys)] == keys
            if keys[: len(parts)] == parts or made_it:
                where = f"--force_yml {textwrap.shorten(override, _SHOWN)}"
        match problem["type"]:
            case "extra_forbidden":
                yield f"{where.removesuffix(':'.join(present)).removesuffix(': ')}: {_unknown(keys, kind)}"
            case "missing":
                yield f"{where}: expected {keys[-1]!r} here"
            case "value_error":
                yield f"{where}: {problem['ctx']['error']}"
            case _:
                message, value = problem["msg"], textwrap.shorten(repr(problem["input"]), 60)
                yield f"{where}: {message[0].lower()}{message[1:]}; found {value}"


def _line(node: yaml.Node, keys: list[str]) -> tuple[int, list[str]]:
    """The line of the deepest of the keys that the file holds, and those keys."""
    line, present = node.start_mark.line + 1, []
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                if name.value == key:
                    line, node = name.start_mark.line + 1, value
                    present.append(key)
                    break
    return line, present


def _unknown(keys: list[str], kind: type[Section]) -> str:
    """Which key is unknown, and what may have been meant: a key of the section, or one of another."""
    key, beside = keys[-1], _keys_beside(keys, kind)
    sections = dict(_sections(kind))
    elsewhere = [":".join(parents) or "the top" for parents, names in sections.items() if key in names]
    if key in beside:
        return f"unknown key {key!r} here; it goes with another 'type'"
    if near := difflib.get_close_matches(key, beside, n=1, cutoff=_NEAR):
        return f"unknown key {key!r}; did you mean {near[0]!r}?"
    if elsewhere:
        return f"unknown key {key!r} here; it belongs below {elsewhere[0]}"
    if near := difflib.get_close_matches(key, set().union(*sections.values()), n=1, cutoff=_NEAR):
        return f"unknown key {key!r}; did you mean {near[0]!r}?"
    return f"unknown key {key!r}; known here are {', '.join(sorted(beside))}"


def _keys_beside(keys: list[str], kind: type[BaseModel]) -> set[str]:
    """What the section of the last of these keys may hold."""
    models = [kind]
    for key in keys[:-1]:
        below = [model for parent in models for model in _below(parent, key)]
        models = below or models  # names of metrics and of alternatives are no fields
    return {name for model in models for name in model.model_fields}


def _below(parent: type[BaseModel], key: str) -> list[type[BaseModel]]:
    if key in parent.model_fields:
        return list(_models(parent.model_fields[key].annotation))
    return list(_models(get_type_hints(parent).get("__pydantic_extra__")))  # of a section with names of the user's


def _sections(kind: type[BaseModel], parents: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """The keys of each section below `kind`, the alternatives of one together."""
    yield parents, set(kind.model_fields)
    for name, field in kind.model_fields.items():
        for below in _models(field.annotation):
            yield from _sections(below, (*parents, name))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models(argument)
