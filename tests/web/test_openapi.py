"""Answers to requests that are made up from the OpenAPI document; skipped without schemathesis."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from web_support import Serve

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
STREAMS = "^/v1/(events|jobs/.*/events)$"  # which do not end


@pytest.mark.slow
def test_answers_to_made_up_requests_are_those_of_the_document(serve: Serve) -> None:
    if not importlib.util.find_spec("schemathesis"):
        pytest.skip("schemathesis is not installed: pip install schemathesis")
    client = serve(rate=100_000)
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{client.url}/v1/openapi.json", "--checks", CHECKS]
    bounds = ["--exclude-path-regex", STREAMS, "--phases", "examples,fuzzing", "--max-examples", "15", "--seed", "1"]
    bounds += ["--request-timeout", "120", "--no-color"]
    run = subprocess.run([*command, *bounds], capture_output=True, text=True, timeout=1200, check=False)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
