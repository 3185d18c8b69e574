"""The client at a service that asks for keys: what a key may do, it does; the rest is NotAllowed."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.pictures import part
from tests.service.server_process import ServerProcess
from touchstone_client import NO_RETRIES, AsyncClient, Client, NotAllowed


def key(data: Path, role: str) -> str:
    """A new key's token, made as a person makes it."""
    command = [sys.executable, "-m", "service.cli", "keys", "create", f"a {role}", "--role", role, "--data", str(data)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_a_key_opens_what_its_role_may_do(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(data, ACCESS="keys").wait_until_live() as server:
        url = f"http://127.0.0.1:{server.port}"
        engineer, line = key(data, "engineer"), key(data, "line")
        with Client(url) as client:
            assert client.live().status == "live"
            with pytest.raises(NotAllowed):
                client.categories()
        with Client(url, key=engineer) as client:
            assert client.onboard("disc", [part(seed) for seed in range(3)]).added == 3
        with Client(url, key=line) as client:
            assert client.inspect(part(9)).category == "disc"
            with pytest.raises(NotAllowed, match="engineer"):
                client.remove_category("disc")
        file = tmp_path / "line.key"
        file.write_text(f"{line}\n")
        command = [sys.executable, "-m", "touchstone_client", "--url", url]
        for extra, more, code in (
            (["--key-file", str(file)], {}, 0),
            ([], {"TOUCHSTONE_KEY": line}, 0),
            ([], {"TOUCHSTONE_KEY": "ts_wrong"}, 2),
        ):
            done = subprocess.run(
                [*command, *extra, "categories"], env=os.environ | more, capture_output=True, text=True
            )
            assert done.returncode == code, done.stderr
            assert line not in done.stdout + done.stderr


UPLOAD = """
const form = new FormData();
form.append("images", new Blob([new Uint8Array(6 << 20)]), "part.png");
const headers = { Authorization: "Bearer ts_wrong" };
const answer = await fetch(process.argv[1] + "/detect", { method: "POST", body: form, headers });
console.log(answer.status, (await answer.json()).type);
"""


def test_a_wrong_key_is_told_to_whoever_sends_a_large_picture(tmp_path: Path) -> None:
    picture = bytes(6 << 20)
    with ServerProcess(tmp_path / "data", ACCESS="keys").wait_until_live() as server:
        url = f"http://127.0.0.1:{server.port}"

        async def the_same() -> None:
            async with AsyncClient(url, key="ts_wrong", retries=NO_RETRIES) as client:
                with pytest.raises(NotAllowed):
                    await client.inspect(picture)

        for _ in range(5):
            with Client(url, key="ts_wrong", retries=NO_RETRIES) as client, pytest.raises(NotAllowed):
                client.inspect(picture)
            asyncio.run(the_same())
            if node := shutil.which("node"):
                command = [node, "--input-type=module", "-e", UPLOAD, url]
                done = subprocess.run(command, capture_output=True, text=True, timeout=60)
                assert done.stdout.split() == ["401", "/problems/unauthenticated"], done.stderr
