"""The examples do what they say, each in its own language, where that is on the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.helpers.scripted_server import scripted_server
from tests.service.pictures import part
from touchstone_client import Client

EXAMPLES = Path(__file__).parent.parent.parent / "clients/examples"


NO_SUCH_PROXY = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "no_proxy": "elsewhere"}


def csharp(folder: Path) -> list[str]:
    """The C# example, built with what there is."""
    program = EXAMPLES / "csharp/Program.cs"
    if shutil.which("dotnet"):
        shutil.copytree(program.parent, folder / "csharp")
        return ["dotnet", "run", "--project", str(folder / "csharp"), "--"]
    if not shutil.which("mcs"):
        pytest.skip("neither .NET nor Mono is on this machine")
    built = folder / "detect.exe"
    libraries = ["-r:System.Net.Http.dll", "-r:System.Runtime.Serialization.dll"]
    subprocess.run(["mcs", *libraries, f"-out:{built}", str(program)], check=True, timeout=120)
    return ["mono", str(built)]


def command(language: str, folder: Path) -> list[str]:
    """How the example of a language is run."""
    match language:
        case "curl":
            return [str(EXAMPLES / "detect.sh")]
        case "python":
            return [sys.executable, str(EXAMPLES / "detect.py")]
        case "node":
            return ["node", str(EXAMPLES / "detect.mjs")]
        case _:
            return csharp(folder)


@pytest.mark.parametrize("language", ["curl", "python", "node", "csharp"])
def test_the_example_teaches_a_product_and_tells_good_from_bad(service: str, language: str, tmp_path: Path) -> None:
    if language in ("curl", "node") and not shutil.which(language):
        pytest.skip(f"{language} is not on this machine")
    run = command(language, tmp_path)
    good = tmp_path / "good"
    good.mkdir()
    for seed in range(10):
        (good / (f"{seed}.png" if seed else "0, first; of ten.JFIF")).write_bytes(part(seed))
    (good / "Thumbs.db").write_bytes(b"no image")
    (good / "folder").mkdir()
    (tmp_path / "good.png").write_bytes(part(0))
    (tmp_path / "bad.png").write_bytes(part(7, scratched=True))
    (tmp_path / "text.png").write_text("no picture")
    with Client(service) as client:
        client.onboard(language, [part(0)])
        client.update_category(language, threshold=0.02)

    def inspect(picture: str) -> subprocess.CompletedProcess[str]:
        given = [*run, language, str(good), str(tmp_path / picture)]
        environment = os.environ | {"TOUCHSTONE_URL": service, **NO_SUCH_PROXY}
        return subprocess.run(given, capture_output=True, text=True, timeout=120, env=environment)

    first = inspect("good.png")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "normal" in first.stdout
    second = inspect("bad.png")
    assert second.returncode == 1, second.stdout + second.stderr
    assert "anomalous" in second.stdout
    refused = inspect("text.png")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "picture" in refused.stderr.lower() or "image" in refused.stderr.lower(), refused.stderr
    with Client(service) as client:
        assert client.category(language).references == 10
        client.remove_category(language)


@pytest.mark.parametrize("language", ["curl", "python", "node", "csharp"])
def test_the_example_does_not_sit_out_a_days_wait(language: str, tmp_path: Path) -> None:
    if language in ("curl", "node") and not shutil.which(language):
        pytest.skip(f"{language} is not on this machine")
    run = command(language, tmp_path)
    good = tmp_path / "good"
    good.mkdir()
    (good / "0.png").write_bytes(part(0))
    with scripted_server((503, {"Retry-After": "86400"}, "<html>closed today</html>")) as server:
        given = [*run, language, str(good), str(good / "0.png")]
        environment = os.environ | {"TOUCHSTONE_URL": server.url}
        done = subprocess.run(given, capture_output=True, text=True, timeout=60, env=environment)
        assert done.returncode == 2, done.stdout + done.stderr
        assert len(server.requests) == 1
