"""The manual page and the completion of shells that the package brings agree with the commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import bgai_command

from bgai.cli.manual import manual_page

SHARE = Path(__file__).parents[2] / "share"
PAGE = SHARE / "man/man1/bgai.1"
SCRIPTS = {
    "bash": SHARE / "bash-completion/completions/bgai",
    "zsh": SHARE / "zsh/site-functions/_bgai",
    "fish": SHARE / "fish/vendor_completions.d/bgai.fish",
}


def test_the_manual_page_is_that_of_the_commands() -> None:
    """If not:  python -m bgai.cli.manual > share/man/man1/bgai.1"""
    assert manual_page() == PAGE.read_text(encoding="ascii")


def test_the_manual_page_has_all_commands_and_options(tmp_path: Path) -> None:
    page = manual_page().replace("\\-", "-")
    for part in (
        ".SS bgai upscale [OPTIONS] INPUT...",
        ".B -o, --output PATH",
        ".B --long-edge NUMBER",
        "--no-browser",
    ):
        assert part in page
    commands = bgai_command("-h", cwd=tmp_path).stdout
    assert [line.split()[2] for line in page.splitlines() if line.startswith(".SS")] == [
        line.split()[1] for line in commands.splitlines() if line.startswith("│ ") and line[2].isalpha()
    ]


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff")
def test_the_manual_page_is_sound_roff() -> None:
    result = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", str(PAGE)], capture_output=True, encoding="utf-8", check=True
    )
    assert result.stderr == ""
    assert "upscale" in result.stdout


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_scripts_are_those_of_the_command(shell: str, tmp_path: Path) -> None:
    """If not:  _BGAI_COMPLETE=source_bash bgai > share/bash-completion/completions/bgai"""
    result = bgai_command(cwd=tmp_path, _BGAI_COMPLETE=f"source_{shell}")
    assert SCRIPTS[shell].read_text(encoding="utf-8").strip() == result.stdout.strip()


@pytest.mark.skipif(os.name == "nt" or not shutil.which("bash"), reason="no bash")
def test_bash_completes_options(tmp_path: Path) -> None:
    command = tmp_path / "bgai"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bgai "$@"\n')
    command.chmod(0o755)
    code = f"""
source "{SCRIPTS["bash"]}"
COMP_WORDS=(bgai upscale --prec); COMP_CWORD=2
_bgai_completion "{command}" && echo "${{COMPREPLY[@]}}"
"""
    result = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert result.stdout.strip() == "--precision"
