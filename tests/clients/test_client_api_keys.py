"""The client at a service that requires API keys."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.commands import touchstone
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess
from touchstone_client import NO_RETRIES, AsyncClient, Client, PermissionDenied


def create_key(data: Path, role: str) -> str:
    """A new key's token, created on the command line."""
    return touchstone("keys", "create", f"a {role}", "--role", role, data=data).stdout.strip()


def test_a_key_permits_what_its_role_permits(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(data, ACCESS="keys").wait_until_live() as server:
        url = f"http://127.0.0.1:{server.port}"
        engineer, line = create_key(data, "engineer"), create_key(data, "line")
        with Client(url) as client:
            assert client.live().status == "live"
            with pytest.raises(PermissionDenied):
                client.categories()
        with Client(url, api_key=engineer) as client:
            assert client.onboard("disc", [part(seed) for seed in range(3)]).added == 3
        with Client(url, api_key=line) as client:
            assert client.inspect(part(9)).category == "disc"
            with pytest.raises(PermissionDenied, match="engineer"):
                client.remove_category("disc")
        file = tmp_path / "line.key"
        file.write_text(f"{line}\n")
        command = [sys.executable, "-m", "touchstone_client", "--url", url]
        for options, environment, code in (
            (["--key-file", str(file)], {}, 0),
            ([], {"TOUCHSTONE_KEY": line}, 0),
            ([], {"TOUCHSTONE_KEY": "ts_wrong"}, 2),
        ):
            arguments = [*command, *options, "categories"]
            done = subprocess.run(arguments, env=os.environ | environment, capture_output=True, text=True)
            assert done.returncode == code, done.stderr
            assert line not in done.stdout + done.stderr


UPLOAD = """
const form = new FormData();
form.append("images", new Blob([new Uint8Array(6 << 20)]), "part.png");
const headers = { Authorization: "Bearer ts_wrong" };
const response = await fetch(process.argv[1] + "/detect", { method: "POST", body: form, headers });
console.log(response.status, (await response.json()).type);
"""


def test_a_wrong_key_is_reported_to_a_client_that_is_still_sending_a_large_image(tmp_path: Path) -> None:
    image = bytes(6 << 20)
    with ServerProcess(tmp_path / "data", ACCESS="keys").wait_until_live() as server:
        url = f"http://127.0.0.1:{server.port}"

        async def inspect() -> None:
            async with AsyncClient(url, api_key="ts_wrong", retries=NO_RETRIES) as client:
                with pytest.raises(PermissionDenied):
                    await client.inspect(image)

        for _ in range(5):
            with Client(url, api_key="ts_wrong", retries=NO_RETRIES) as client, pytest.raises(PermissionDenied):
                client.inspect(image)
            asyncio.run(inspect())
            command = ["node", "--input-type=module", "-e", UPLOAD, url]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert done.stdout.split() == ["401", "/problems/unauthenticated"], done.stderr
