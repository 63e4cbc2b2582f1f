"""The jobs in `examples/cluster`."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from namespace_support import UNSHARE, needs_ray, skip_without_namespaces
from PIL import Image
from support import bgai_command, texture

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "examples/cluster"

pytestmark = pytest.mark.skipif(not JOBS.is_dir(), reason="not a clone of the repository")


def test_job_of_kuberay(tmp_path: Path) -> None:
    job = yaml.safe_load((JOBS / "rayjob.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    pinned = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    cluster = job["spec"]["rayClusterSpec"]
    assert pinned
    assert cluster["rayVersion"] == pinned[1]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        assert container["env"] == [{"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}]
        assert container["resources"]["requests"] == container["resources"]["limits"]
    # What the command line refuses would end each of the job's tries.
    program, *arguments = shlex.split(job["spec"]["entrypoint"].replace("s3://", "memory://"))
    assert program == "bgai"
    result = bgai_command(*arguments, "--dry-run", cwd=tmp_path)
    assert result.stderr.splitlines()[-1].startswith("1 to be enlarged"), result.stderr


def test_script_for_slurm_is_bash() -> None:
    subprocess.run(["bash", "-n", str(JOBS / "slurm.sh")], check=True)
    usage = subprocess.run(["bash", str(JOBS / "slurm.sh")], capture_output=True, text=True)
    assert (usage.returncode, usage.stderr) == (2, "usage: sbatch --nodes N slurm.sh INPUT OUTPUT [OPTION…]\n")


@pytest.mark.slow
@needs_ray
def test_script_for_slurm_on_one_node(tmp_path: Path) -> None:
    """With stand-ins for `scontrol` and `srun`."""
    skip_without_namespaces()
    (tmp_path / "in/inner").mkdir(parents=True)
    for name in ("in/a.png", "in/inner/b.png"):
        Image.fromarray(texture(20, 24)).save(tmp_path / name)
    commands = {
        "scontrol": '[ "$*" = "show hostnames nodes[1-1]" ] && echo 127.0.0.1',
        "srun": 'shift 2; exec "$@"',
        "bgai": f'exec {shlex.quote(sys.executable)} -m bgai "$@"',
        "ray": f'exec {shlex.quote(sys.executable)} -m ray.scripts.scripts "$@"',
    }
    for name, line in commands.items():
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_NODELIST": "nodes[1-1]",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_JOB_ID": "7",
        "RAY_TMPDIR": "/tmp",  # names of Ray's sockets have to be short
    }
    command = [*UNSHARE, "bash", str(JOBS / "slurm.sh"), "in", "out", "--scale", "2"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stdout + result.stderr
    assert Image.open(tmp_path / "out/inner/b.png").size == (48, 40)
    assert "2 enlarged" in result.stderr
