"""The examples work as documented, each in its language where that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.helpers.scripted_server import scripted_server
from tests.helpers.part_images import part
from touchstone_client import Client

EXAMPLES = Path(__file__).parent.parent.parent / "clients/examples"


UNREACHABLE_PROXY = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "no_proxy": "elsewhere"}


def csharp(folder: Path) -> list[str]:
    """The C# example, built with .NET or Mono."""
    program = EXAMPLES / "csharp/Program.cs"
    if shutil.which("dotnet"):
        shutil.copytree(program.parent, folder / "csharp")
        return ["dotnet", "run", "--project", str(folder / "csharp"), "--"]
    if not shutil.which("mcs"):
        pytest.skip("neither .NET nor Mono is installed")
    executable = folder / "detect.exe"
    reference_stores = ["-r:System.Net.Http.dll", "-r:System.Runtime.Serialization.dll"]
    subprocess.run(["mcs", *reference_stores, f"-out:{executable}", str(program)], check=True, timeout=120)
    return ["mono", str(executable)]


def command(language: str, folder: Path) -> list[str]:
    """The command that runs the example of a language."""
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
def test_the_example_adds_references_and_distinguishes_good_and_defective_parts(
    service: str, language: str, tmp_path: Path
) -> None:
    if language in ("curl", "node") and not shutil.which(language):
        pytest.skip(f"{language} is not installed")
    run = command(language, tmp_path)
    good = tmp_path / "good"
    good.mkdir()
    for seed in range(10):
        (good / (f"{seed}.png" if seed else "0, first; of ten.JFIF")).write_bytes(part(seed))
    (good / "Thumbs.db").write_bytes(b"not an image")
    (good / "folder").mkdir()
    (tmp_path / "good.png").write_bytes(part(0))
    (tmp_path / "bad.png").write_bytes(part(7, scratched=True))
    (tmp_path / "text.png").write_text("not an image")
    with Client(service) as client:
        client.onboard(language, [part(0)])
        client.update_category(language, threshold=0.02)

    def inspect(image: str) -> subprocess.CompletedProcess[str]:
        arguments = [*run, language, str(good), str(tmp_path / image)]
        environment = os.environ | {"TOUCHSTONE_URL": service, **UNREACHABLE_PROXY}
        return subprocess.run(arguments, capture_output=True, text=True, timeout=120, env=environment)

    first = inspect("good.png")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "normal" in first.stdout
    second = inspect("bad.png")
    assert second.returncode == 1, second.stdout + second.stderr
    assert "anomalous" in second.stdout
    refused = inspect("text.png")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "image" in refused.stderr.lower() or "image" in refused.stderr.lower(), refused.stderr
    with Client(service) as client:
        assert client.category(language).references == 10
        client.remove_category(language)


@pytest.mark.parametrize("language", ["curl", "python", "node", "csharp"])
def test_the_example_does_not_wait_for_a_day(language: str, tmp_path: Path) -> None:
    if language in ("curl", "node") and not shutil.which(language):
        pytest.skip(f"{language} is not installed")
    run = command(language, tmp_path)
    good = tmp_path / "good"
    good.mkdir()
    (good / "0.png").write_bytes(part(0))
    with scripted_server((503, {"Retry-After": "86400"}, "<html>closed today</html>")) as server:
        arguments = [*run, language, str(good), str(good / "0.png")]
        environment = os.environ | {"TOUCHSTONE_URL": server.url}
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, env=environment)
        assert done.returncode == 2, done.stdout + done.stderr
        assert len(server.requests) == 1
