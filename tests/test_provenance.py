"""What made a result."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import bgai
from bgai.provenance import machine, versions


def commit_of(package: Path) -> str:
    code = "from bgai.provenance import commit; print(commit())"
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, env={"PYTHONPATH": str(package), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_commit_is_that_of_the_packages_own_clone(tmp_path: Path) -> None:
    package = tmp_path / "src/bgai"
    package.mkdir(parents=True)
    for name in ("__init__.py", "_version.py", "provenance.py"):
        shutil.copy(Path(bgai.__file__).parent / name, package)
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "-m", "of something else")
    assert commit_of(tmp_path / "src") == "unknown"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "ours")
    assert re.fullmatch("[0-9a-f]{40}", commit_of(tmp_path / "src"))
    git(tmp_path, "config", "core.fsmonitor", f"touch {tmp_path}/run; false")
    (package / "provenance.py").open("a").write("\n")
    assert re.fullmatch("[0-9a-f]{40}-dirty", commit_of(tmp_path / "src"))
    assert not (tmp_path / "run").exists()


def test_versions_name_what_is_installed() -> None:
    assert re.fullmatch(r"bgai \S+, Python 3\.\S+, numpy \S+", versions("numpy", "not-installed"))


def test_the_machine_names_its_processor() -> None:
    assert re.match(r"\d+ × \w+.*, \d+ threads", machine())
