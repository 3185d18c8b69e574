"""The `touchstone-client` command in a process of its own, against the real service."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.pictures import part
from touchstone_client import Client


def run(*arguments: object, url: str = "", code: int = 0) -> str:
    """The command's output; its exit code must be as expected."""
    command = [sys.executable, "-m", "touchstone_client", *(["--url", url] if url else []), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    if code >= 2:
        assert len(done.stderr.strip().splitlines()) == 1
        return done.stderr
    return done.stdout


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with good parts, and beside it a scratched one."""
    folder = tmp_path / "good"
    folder.mkdir()
    for seed in range(4):
        (folder / f"{seed}.png").write_bytes(part(5000 + seed))
    (tmp_path / "bad.png").write_bytes(part(7, scratched=True))
    (tmp_path / "text.png").write_text("no picture")
    return folder


def test_onboard_then_look_and_change(service: str, pictures: Path) -> None:
    assert "4 added, 0 there already" in run("onboard", "shell", pictures, url=service)
    assert "0 added, 4 there already" in run("onboard", "shell", pictures, url=service)
    run("onboard", "shell", pictures.parent / "text.png", url=service, code=1)
    listed = run("categories", url=service)
    assert listed.splitlines()[0].split()[:2] == ["category", "references"]
    changed = json.loads(run("categories", "shell", "--set", "k=9", "--set", "threshold=0.5", "--json", url=service))
    assert (changed[0]["settings"]["k"], changed[0]["settings"]["threshold"]) == (9, 0.5)
    assert "0.5000" in run("categories", "shell", url=service)
    with Client(service) as client:
        client.remove_category("shell")


def test_detect_says_by_its_exit_code_what_it_found(service: str, pictures: Path) -> None:
    detect = ("detect", "--category", "disc", "--station", "shell")
    with Client(service) as client:
        good = next(
            seed for seed in range(6000, 6050) if client.inspect(part(seed), category="disc").verdict == "normal"
        )
    (pictures / "0.png").write_bytes(part(good))
    assert "normal" in run(*detect, pictures / "0.png", url=service)
    overlays = pictures.parent / "overlays"
    bad = run(*detect, "--overlays", overlays, "--json", pictures.parent / "bad.png", url=service, code=1)
    [found] = json.loads(bad)
    assert (found["verdict"], found["station"]) == ("anomalous", "shell")
    assert [path.read_bytes()[:4] for path in overlays.iterdir()] == [b"\x89PNG"]
    assert "text.png" in run(*detect, pictures.parent / "text.png", url=service, code=2)
    assert "no such file" in run(*detect, "missing.png", url=service, code=2)
    assert "no category" in run("detect", "--category", "nothing", pictures / "0.png", url=service, code=2)


def test_history_and_watch(service: str, pictures: Path) -> None:
    command = [sys.executable, "-m", "touchstone_client", "--url", service, "watch", "--station", "w", "--json",
               "--every", "0.05", "--count", "2"]  # fmt: skip
    with Client(service) as client:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            made = []
            while watching.poll() is None and len(made) < 40:  # until it has begun and seen two
                made.append(client.inspect(part(len(made)), category="disc", station="w").id)
            seen = [json.loads(line)["id"] for line in watching.stdout]
        assert watching.returncode == 0
        assert seen == made[made.index(seen[0]) : made.index(seen[0]) + 2]
    listed = json.loads(run("inspections", "--station", "w", "--limit", "1", "--json", url=service))
    assert [each["id"] for each in listed] == made[-1:]
    csv = run("inspections", "--station", "w", "--csv", url=service)
    assert len(csv.splitlines()) == len(made) + 1
    assert run("inspections", "--until", "2020-01-01", url=service).split()[:2] == ["time", "verdict"]


def test_judging_says_by_its_exit_code_whether_it_has_to_be_confirmed(service: str) -> None:
    with Client(service) as client:
        wrong = client.inspect(part(70, kind=1), category="disc").id
        assert json.loads(run("judge", wrong, "defect", "--json", url=service))["judgement"] == "defect"
        assert "`confirm`" in run("judge", wrong, "good", url=service, code=1)
        assert client.inspection(wrong).judgement == "defect"
        reference = client.judge(wrong, "good", confirm=True).promoted_reference_id
        assert f"good, reference {reference}" in run("judge", wrong, "good", url=service)
        assert "nothing said" in run("judge", wrong, "none", url=service)
        assert f"{wrong}: good" in run("judge", wrong, "good", "--confirm", url=service)
        assert run("judge", wrong, "none", url=service)
    assert "no inspection" in run("judge", "nothing", "good", url=service, code=2)


def test_what_goes_wrong_is_one_line_and_an_exit_code(service: str, tmp_path: Path) -> None:
    assert "healthz" not in run("--patience", "0.3", "categories", url="http://127.0.0.1:9", code=3)
    assert "address of a service" in run("categories", url="nonsense", code=2)
    assert "NAME=VALUE" in run("categories", "disc", "--set", "k", url=service, code=2)
    assert "k" in run("categories", "disc", "--set", "k=0", url=service, code=2)
    assert "no such file" in run("--key-file", tmp_path / "none", "categories", url=service, code=2).lower()


def test_help_teaches() -> None:
    helped = run("--help")
    for word in ("onboard", "detect", "categories", "inspections", "watch", "exit codes", "TOUCHSTONE_URL"):
        assert word in helped
    for command in ("onboard", "detect", "categories", "inspections", "watch"):
        assert "exit codes" in run(command, "--help")
