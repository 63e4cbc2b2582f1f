"""The page of all keys of option files, made from the sections and what is written below their fields.

`python -m bgai.options.reference` prints it; `docs/option-keys.md` holds it.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bgai.options.evaluation import TestOptions
from bgai.options.training import TrainOptions

_HEAD = """\
# Keys of option files

Made from the code, by `python -m bgai.options.reference`. A key that is not here is an error, which names the line of
the file. `~` is the default. [Training](training.md) and [testing](results.md#testing-weights-of-your-own) say what to
do with the files.
"""


def page() -> str:
    """The whole page in Markdown."""
    return _HEAD + _chapter("Training", TrainOptions) + _chapter("Testing", TestOptions)


def _chapter(title: str, kind: type[BaseModel]) -> str:
    tables = [_table(f"`{place}`" if place else "The top", section) for place, section in _sections(kind, "")]
    return f"\n## {title}\n" + "".join(tables)


def _sections(kind: type[BaseModel], place: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Each section below one, after it, with its place in the file."""
    yield place, kind
    for name, field in kind.model_fields.items():
        for section in _models(field.annotation):
            below = f"{name}.NAME" if get_origin(field.annotation) is dict else name
            yield from _sections(section, f"{place}.{below}".strip("."))
    extra = get_type_hints(kind).get("__pydantic_extra__")
    for section in _models(get_args(extra)[-1]) if extra else ():
        wildcard = "test_…" if kind.__name__.startswith("Test") else "val_…"
        yield from _sections(section, f"{place}.{wildcard}")


def _table(place: str, section: type[BaseModel]) -> str:
    fields = section.model_fields
    if not fields:
        return ""
    kind = fields.get("type")
    values = f", type {_values(kind.annotation)}" if kind is not None and len(get_args(kind.annotation)) == 1 else ""
    notes = _notes(section)
    rows = "".join(
        f"| `{name}` | {_values(field.annotation)} | {_default(field)} | {notes.get(name, '')} |\n"
        for name, field in fields.items()
    )
    about = inspect.getdoc(section) if section.__doc__ else ""
    text = f"\n{_one_line(about or '')}\n" if about else ""
    return f"\n### {place}{values}\n{text}\n| key | values | default | |\n|---|---|---|---|\n{rows}"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models(argument)


def _values(annotation: Any) -> str:
    """What a field may hold, in words."""
    if get_origin(annotation) is Annotated:
        return _values(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) in (tuple, list):
        return "list"
    if any(_models(annotation)) or get_origin(annotation) is dict:
        return "section"
    if get_origin(annotation) is Union or type(annotation).__name__ == "UnionType":
        parts = [_values(part) for part in get_args(annotation) if part is not type(None)]
        return " or ".join(dict.fromkeys(parts))
    names = {"int": "whole number", "float": "number", "str": "text", "bool": "`true` or `false`", "Path": "path"}
    return names.get(getattr(annotation, "__name__", ""), "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.default
    if value is None or value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


def _notes(section: type[BaseModel]) -> dict[str, str]:
    """The text below each field, in the section's source and in those of the sections that it extends."""
    notes: dict[str, str] = {}
    for kind in reversed(section.__mro__):
        if issubclass(kind, BaseModel) and kind.__module__.startswith("bgai."):
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
            assert isinstance(tree, ast.ClassDef)
            notes |= dict(_texts_below(tree.body))
    return notes


def _texts_below(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, _one_line(text)


def _one_line(text: str) -> str:
    return re.sub(r"\bNone\b", "`~`", " ".join(text.split())).replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
