"""The workflows of GitHub Actions: what they run is there, and they may do no more than they need."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="not a clone of the repository")


def jobs(workflow: Path) -> dict[str, dict[str, Any]]:
    content: dict[str, dict[str, Any]] = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return content


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_scripts_of_the_repository_exist(workflow: Path) -> None:
    for script in re.findall(r"run: (\.ci/\w+)", workflow.read_text(encoding="utf-8")):
        assert os.access(ROOT / script, os.X_OK), script


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_jobs_have_a_time_limit_and_actions_a_version(workflow: Path) -> None:
    for name, job in jobs(workflow).items():
        assert "timeout-minutes" in job or job.get("uses", "").startswith("./"), name
        for step in job.get("steps", []):
            assert "uses" not in step or re.search(r"@(v\d+|release/v\d+|[0-9a-f]{40})$", step["uses"]), step


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_only_publishing_may_do_more_than_read(workflow: Path) -> None:
    assert yaml.safe_load(workflow.read_text(encoding="utf-8"))["permissions"] == {"contents": "read"}
    allowed = {name for name, job in jobs(workflow).items() if "permissions" in job}
    assert allowed <= {"publish"}
