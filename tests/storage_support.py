"""Servers of cloud storage on this machine: S3, Azure and Google."""

from __future__ import annotations

import logging
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

BUCKET = "pictures"
# Of the account that every Azurite has, as its documentation says; no secret.
_AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


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


@contextmanager
def azure_server(folder: Path) -> Iterator[dict[str, str]]:
    """The environment that others need for Azurite, which keeps its files in a folder; it has an empty container."""
    pytest.importorskip("adlfs", reason="needs adlfs")
    from azure.storage.blob import BlobServiceClient

    program = shutil.which("azurite-blob")
    if not program:
        pytest.skip("needs the npm package azurite")
    command = [program, "--location", str(folder), "--blobHost", "127.0.0.1", "--blobPort", "0", "--disableTelemetry"]
    with subprocess.Popen([*command, "--skipApiVersionCheck"], stdout=subprocess.PIPE, encoding="utf-8") as server:
        try:
            assert server.stdout
            lines = (re.search(r"successfully listens on (http://\S+)", line) for line in server.stdout)
            address = next(found[1] for found in lines if found)
            connection = (
                "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
                f"AccountKey={_AZURITE_KEY};BlobEndpoint={address}/devstoreaccount1;"
            )
            BlobServiceClient.from_connection_string(connection).create_container(BUCKET)
            yield {"AZURE_STORAGE_CONNECTION_STRING": connection}
        finally:
            server.terminate()


@contextmanager
def google_server() -> Iterator[dict[str, str]]:
    """The environment that others need for an emulator of Google's storage; it has an empty bucket."""
    pytest.importorskip("gcsfs", reason="needs gcsfs")
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason="needs gcp-storage-emulator")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    server.start()
    try:
        yield {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}
    finally:
        server.stop()
