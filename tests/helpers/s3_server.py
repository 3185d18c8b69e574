"""An S3 server as a process of its own: moto's, which holds its objects in memory."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3
import httpx

from tests.helpers.forked import ForkedProcess
from tests.helpers.server_process import START_SECONDS, free_port


class S3Server:
    """A server with an empty bucket `plant`. variables: what tells programs to use it, for the environment."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.variables = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "touchstone",
            "AWS_SECRET_ACCESS_KEY": "a secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        log = folder / "s3.log"
        self._process = ForkedProcess(_serve, port, environment=os.environ, output=log)
        end = time.monotonic() + START_SECONDS
        while True:
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            try:
                httpx.get(self.url)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id="touchstone",
            aws_secret_access_key="a secret",
            region_name="us-east-1",
        )
        self.client.create_bucket(Bucket="plant")

    def __enter__(self) -> S3Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self._process.kill()
        self._process.wait()

    def keys(self, prefix: str = "") -> list[str]:
        """Keys of the bucket's objects, the first thousand."""
        listed = self.client.list_objects_v2(Bucket="plant", Prefix=prefix)
        return [entry["Key"] for entry in listed.get("Contents", ())]

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket="plant", Key=key, Body=data)

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket="plant", Key=key)["Body"].read()
        return data

    def check_credentials(self, check: bool) -> None:
        """From now on know nobody's credentials, or accept any."""
        httpx.post(f"{self.url}/moto-api/reset-auth", content=b"0" if check else b"inf")


def _serve(port: int) -> None:
    from moto.server import main

    main(["-H", "127.0.0.1", "-p", str(port)])
