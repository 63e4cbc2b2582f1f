"""Lines, complaints and progress bars."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from support import bgai_command, picture

from bgai.cli.app import app
from bgai.cli.console import amount, explain, needing_extra, printable
from bgai.errors import BgaiError, MissingExtraError

NAMES = [":train:.png", ":cat:[bold] [red].png"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_neither_emoji_nor_markup(name: str, tmp_path: Path) -> None:
    picture(tmp_path / name)
    stem = name.removesuffix(".png")
    for environment in ({}, {"FORCE_COLOR": "1", "COLUMNS": "200", "TERM": "xterm"}):
        result = bgai_command("upscale", name, "--overwrite", cwd=tmp_path, **environment)
        assert result.stdout.startswith(f"{stem}_x4.png")
        picture(tmp_path / f"{stem}_x4.png")  # which bgai did not make
        again = bgai_command("upscale", name, cwd=tmp_path, **environment)
        assert f"bgai: {stem}_x4.png: exists already" in again.stderr
    missing = bgai_command("weights", name + ":train:", cwd=tmp_path)
    assert f"{name}:train:" in missing.stderr
    unknown = bgai_command(name, cwd=tmp_path)
    assert name in unknown.stderr


@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_bar_is_shown_on_a_terminal(encoding: str, tmp_path: Path) -> None:
    picture(tmp_path / ":train:.png")
    reader, terminal = os.openpty()
    subprocess.run(
        [sys.executable, "-m", "bgai", "upscale", ":train:.png"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "100", "TERM": "xterm"},
        check=True,
    )
    os.close(terminal)
    with open(reader, encoding=encoding, errors="strict") as screen:  # noqa: PTH123
        shown = ""
        try:
            while line := screen.readline():
                shown += line
        except OSError:  # the end, on Linux
            pass
    assert ":train:.png" in shown
    assert "0.0035 of 0.0035 MP" in shown


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1"}], ids=["pipe", "coloured log"])
def test_no_bar_in_pipes_and_logs(environment: dict[str, str], tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    result = bgai_command("upscale", "a.png", "-o", "b.png", cwd=tmp_path, **environment)
    assert "MP" not in result.stderr
    assert result.stderr.count("\n") == (1 if environment else 2)


def test_amounts() -> None:
    assert amount(3, 1000) == "3 of 1,000"
    assert amount(4300, 8600, "MP") == "0.0043 of 0.0086 MP"
    assert amount(0, 0, "MP") == "0.0 of 0.0 MP"
    assert amount(1_234_567, 20_000_000, "MB", 345_678.0) == "1.2 of 20.0 MB, 0.35 MB/s"


def test_control_characters_are_escaped() -> None:
    assert printable("a\n\x1b[1m\udce9é× ") == "a\\n\\x1b[1m\\udce9é× "


def test_messages_name_the_option_that_would_help() -> None:
    upscale = typer.main.get_command(app).commands["upscale"]  # type: ignore[attr-defined]
    assert explain(BgaiError("too large; set a smaller tile", parameter="tile"), upscale) == (
        "too large; set a smaller tile (--tile)"
    )
    assert explain(MemoryError(), upscale) == "not enough memory; set a smaller tile (--tile)"
    assert explain(BgaiError("no", parameter="inputs"), upscale) == "no"
    assert explain(BgaiError("no", parameter="other"), upscale) == "no"


def test_a_missing_library_names_its_extra() -> None:
    message = r"a graph needs the extra 'export': .* 'bgai\[export\]'"
    with pytest.raises(MissingExtraError, match=message) as raised, needing_extra("export", "a graph"):
        import nothing_of_this_name  # type: ignore[import-not-found]  # noqa: F401
    assert isinstance(raised.value.__cause__, ModuleNotFoundError)
