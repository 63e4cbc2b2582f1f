"""Damaged and odd option files."""

from __future__ import annotations

from pathlib import Path
from random import Random

from bgai.options.evaluation import TestOptions
from bgai.options.training import TrainOptions
from bgai.options.yaml_file import read_options
from campaign.mutations import damaged

_ROOT = Path(__file__).parents[2] / "options"
_VALUES = (
    *(
        "~",
        "",
        "-1",
        "0",
        "1e999",
        ".nan",
        "-.inf",
        "9" * 50,
        "9" * 5000,
        "0x" + "f" * 300,
        "true",
        "[]",
        "{}",
        "[[1]]",
        "''",
    ),
    *("2020-13-45", "2020-01-01T99:99:99", "1:2:3", "&a [*a]", "&a {b: *a}", "*b", "!!python/object:os.system x"),
    *(
        "!!binary x",
        "!!set {a}",
        "!!timestamp x",
        "!!float x",
        "!!int x",
        "../../x",
        "/",
        "..",
        "a\\b",
        "\0",
        "\x85",
        "é",
        "x" * 5000,
    ),
    *(
        "[" * 60,
        "{" * 60,
        "[" * 3000,
        "- " * 3000,
        '"\\ud800"',
        "%YAML",
        "---",
        "? x",
        "@a",
        "`a`",
        "!!",
        "<<: 1",
        "1_000",
        "1e3",
        "4:2:0",
    ),
)
_BOMB = "b0: &b0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
_MERGES = "m0: &m0 {x: 1}\n" + "".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}\n" for i in range(1, 12))


class OptionFiles:
    """Lines changed, left out, doubled or moved, odd values, bombs of aliases, damaged bytes."""

    title = "damaged or odd option files"
    seconds = 20.0

    def __init__(self, folder: Path) -> None:
        self._files = [
            (path.read_text(encoding="utf-8"), TestOptions if "test" in path.parts else TrainOptions)
            for path in sorted(_ROOT.rglob("*.yml"))
        ]

    def attempt(self, random: Random, folder: Path) -> bool:
        text, kind = random.choice(self._files)
        for _ in range(random.choice((1, 1, 2, 4))):
            text = random.choice(_CHANGES)(text, random)
        path = folder / "options.yml"
        path.write_bytes(text.encode("utf-8", "replace") if random.randrange(5) else damaged(text.encode(), random))
        overrides = [f"{random.choice(('name', 'train:total_iter', 'a:b', ':', 'val'))}={random.choice(_VALUES)}"]
        read_options(path, kind, overrides if not random.randrange(4) else ())
        return True


def _with_value(text: str, random: Random) -> str:
    lines = text.splitlines()
    at = random.randrange(max(1, len(lines)))
    if lines:
        lines[at] = lines[at].partition(":")[0] + ": " + random.choice(_VALUES)
    return "\n".join(lines)


def _with_line_moved(text: str, random: Random) -> str:
    lines = text.splitlines() or [""]
    line = lines.pop(random.randrange(len(lines)))
    for _ in range(random.randrange(3)):
        lines.insert(random.randrange(len(lines) + 1), line)
    return "\n".join(lines)


def _indented(text: str, random: Random) -> str:
    lines = text.splitlines() or [""]
    at = random.randrange(len(lines))
    lines[at] = random.choice(("  ", "\t", "")) + lines[at].strip()
    return "\n".join(lines)


def _with_bomb(text: str, random: Random) -> str:
    return text + "\n" + random.choice((_BOMB, _MERGES, "x: &x {<<: *x}\n", "y: &y [*y]\n"))


_CHANGES = (_with_value, _with_value, _with_value, _with_line_moved, _indented, _with_bomb)
