"""Defaults of options from `bgai.toml`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support import bgai_command, picture

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python reads TOML from 3.11 on")


def dry_run(folder: Path, *options: str, **environment: str) -> str:
    result = bgai_command("upscale", "a.png", "--dry-run", *options, cwd=folder, **environment)
    return result.stdout.strip() or result.stderr.strip()


def test_the_command_line_goes_before_the_folder_and_that_before_the_user(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    home = tmp_path / "home"
    (home / "bgai").mkdir(parents=True)
    environment = {"XDG_CONFIG_HOME": str(home)} if sys.platform == "linux" else {}
    if environment:
        (home / "bgai/bgai.toml").write_text("[upscale]\nscale = 3\n")
        assert dry_run(tmp_path, **environment) == "a.png: a_x3.png, 18 x 12 to 54 x 36"
    (tmp_path / "bgai.toml").write_text('[upscale]\nscale = 2\nformat = "webp"\nkeep-dates = true\n')
    assert dry_run(tmp_path, **environment) == "a.png: a_x2.webp, 18 x 12 to 36 x 24"
    assert dry_run(tmp_path, "--scale", "4", **environment) == "a.png: a_x4.webp, 18 x 12 to 72 x 48"
    assert dry_run(tmp_path, "--width", "27", **environment) == "a.png: a_w27.webp, 18 x 12 to 27 x 18"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[upscale]\nscal = 2", "bgai.toml: scal is no option of [upscale]; did you mean scale?"),
        ("[upscale]\noverwrite = true", "bgai.toml: overwrite is no option of [upscale]: the command line alone"),
        ("[enlarge]\nscale = 2", "bgai.toml: [enlarge] is no command; expected one of bench, export"),
        ("scale = 2", "bgai.toml: [scale] is no command"),
        ("[upscale", "bgai.toml: "),
        ("[upscale]\nscale = 'two'", "--scale"),
    ],
)
def test_mistakes_are_named(content: str, message: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "bgai.toml").write_text(content)
    result = bgai_command("upscale", "a.png", cwd=tmp_path)
    assert result.returncode
    assert message in result.stderr
    assert "Traceback" not in result.stderr
