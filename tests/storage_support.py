"""An S3 server on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import pytest

BUCKET = "pictures"


@contextmanager
def s3_server() -> Iterator[tuple[Any, dict[str, str]]]:
    """A client for its owner, and the environment that others need; it has an empty bucket."""
    pytest.importorskip("s3fs", reason="needs the extra [remote]")
    boto3 = pytest.importorskip("boto3", reason="needs moto[server]")
    server_module = pytest.importorskip("moto.server", reason="needs moto[server]")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_module.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "very-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        client = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="somebody",
            aws_secret_access_key="very-secret",
            region_name="us-east-1",
        )
        reset = Request(f"{environment['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")  # of earlier servers here
        urlopen(reset).close()
        client.create_bucket(Bucket=BUCKET)
        yield client, environment
    finally:
        server.stop()


def keys(client: Any) -> list[str]:
    """Names of all objects in the bucket."""
    return [each["Key"] for each in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
