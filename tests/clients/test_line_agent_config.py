"""The agent's file and command: what is wrong is said where, one line each."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from touchstone_line_agent.cli import main
from touchstone_line_agent.triggers import part_id

WHOLE = """
[queue]
path = "{folder}/parts.sqlite"
[[station]]
name = "a"
[station.source]
kind = "folder"
path = "{folder}/in"
"""
FOLDER = 'kind = "folder"\npath = "{folder}/in"'


def check(file: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What `check` says is wrong with a file."""
    assert main(["check", str(file)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.splitlines()


def run(*arguments: object, code: int = 0) -> list[str]:
    """What the command prints in a process of its own: its output, or what it says is wrong."""
    command = [sys.executable, "-m", "touchstone_line_agent", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return (done.stderr if code else done.stdout).splitlines()


def test_the_example_is_a_valid_file(tmp_path: Path) -> None:
    file = tmp_path / "line.toml"
    file.write_text("\n".join(run("example")))
    [line] = run("check", file)
    assert "press-1 (camera, 2 sinks), lab (folder, 1 sinks)" in line


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (('kind = "folder"', 'kind = "teleport"'), ["station[1].source: ", "teleport"]),
        (('kind = "folder"', 'kind = "camera"'), ["station[1].source.path: Extra inputs"]),
        (('name = "a"', 'name = "a b"'), ["station[1].name: "]),
        (('name = "a"', 'name = "a"\nspeed = 3'), ["station[1].speed: Extra inputs"]),
        (('name = "a"', 'name = "a"\ndeadline_ms = 0'), ["station[1].deadline_ms: "]),
        (('name = "a"', 'name = "a"\nsink = [{kind = "modbus", host = "x"}]'), ["station[1].sink[1].reject_coil: "]),
        (('name = "a"', 'name = "a"\nsink = [{kind = "mqtt"}]'), ["station[1].sink[1]: give decision_topic"]),
        (('name = "a"', 'name = "a"\ntrigger = {kind = "http"}'), ["station[1]: a folder source takes no trigger"]),
        ((FOLDER, 'kind = "camera"\ndevice = 0'), ["station[1]: a camera source needs"]),
        ((FOLDER, 'kind = "camera"'), ["station[1].source: give either device or url"]),
        (('path = "{folder}/parts.sqlite"', ""), ["queue.path: Field required"]),
        (("[queue]", "[queue"), ["line.toml: Expected"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_where(
    tmp_path: Path, change: tuple[str, str], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert change[0] in WHOLE
    file = tmp_path / "line.toml"
    file.write_text(WHOLE.replace(*change).replace("{folder}", str(tmp_path)))
    lines = check(file, capsys)
    assert any(all(word in line for word in expected) for line in lines), lines
    assert main(["run", str(file)]) == 2
    assert capsys.readouterr().err.splitlines() == lines


def test_every_mistake_has_a_line_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "line.toml"
    file.write_text(
        'queue = {}\n[[station]]\nname = "a b"\nsource = {kind = "folder", path = "x", every_ms = "often"}\n'
    )
    lines = run("check", file, code=2)
    assert len(lines) == 3
    for line, where in zip(lines, ("queue.path", "station[1].name", "station[1].source.every_ms"), strict=True):
        assert line.startswith(f"touchstone-line-agent: {file}: {where}: ")


def test_names_and_files_that_are_there_twice_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = WHOLE.replace("{folder}", str(tmp_path))
    station = text[text.index("[[station]]") :]
    file = tmp_path / "line.toml"
    file.write_text(text + station)
    assert "'a' is there more than once" in check(file, capsys)[0]
    sink = '[[station.sink]]\nkind = "csv"\npath = "x.csv"\n'
    file.write_text(text + sink + station.replace('"a"', '"b"') + sink)
    assert "x.csv is written by more than one sink" in check(file, capsys)[0]
    assert "No such file" in check(tmp_path / "missing.toml", capsys)[0]


def test_an_agent_that_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "line.toml"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        file.write_text(f"[health]\nport = {port}\n" + WHOLE.replace("{folder}", str(tmp_path)))
        [line] = run("run", file, code=2)
    assert "in use" in line


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(b"", None), (b" 17 \n", "17"), (b'{"part_id": "A-1", "x": 2}', "A-1"), (b'{"part_id": 5}', "5"), (b"{}", None),
     (b"A-17", "A-17"), (b"\xff", "\ufffd"), (b"x" * 500, "x" * 128)],
)  # fmt: skip
def test_a_trigger_message_may_name_its_part(payload: bytes, expected: str | None) -> None:
    assert part_id(payload) == expected
