"""The agent's configuration and command line: errors are one line each and name the setting."""

from __future__ import annotations

import io
import re
import socket
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from touchstone_line_agent.cli import main
from touchstone_line_agent.config import FolderSource, Health, Queue, Service, Station
from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.part_store import PartStore
from touchstone_line_agent.triggers import parse_part_id

ROOT = Path(__file__).parent.parent.parent
CONFIG = """
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
    """The errors that `check` reports."""
    assert main(["check", str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def run(*arguments: object, code: int = 0) -> list[str]:
    """What the command prints: its output, or its errors."""
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        assert main([str(argument) for argument in arguments]) == code, errors.getvalue()
    return (errors if code else output).getvalue().splitlines()


def test_the_example_is_a_valid_file(tmp_path: Path) -> None:
    file = tmp_path / "line.toml"
    text = "\n".join(run("example"))
    for folder in ("/var/lib/touchstone-line-agent", "/srv/lab"):
        text = text.replace(folder, str(tmp_path))
    file.write_text(text)
    (tmp_path / "incoming").mkdir()
    [line] = run("check", file)
    assert "press-1 (camera, 2 sinks), lab (folder, 1 sinks)" in line


def test_check_reports_missing_files_and_folders(tmp_path: Path) -> None:
    file, key = tmp_path / "line.toml", tmp_path / "line.key"
    (tmp_path / "file").write_text("")
    file.write_text(f"""
[service]
key_file = "{key}"
[queue]
path = "{tmp_path}/file/parts.sqlite"
[[station]]
name = "a"
source = {{ kind = "folder", path = "{tmp_path}/in" }}
sink = [{{ kind = "csv", path = "{tmp_path}/file/out/results.csv" }}, {{ kind = "folder", path = "{tmp_path}/new" }}]
[[station]]
name = "b"
source = {{ kind = "video", path = "{tmp_path}/video.avi" }}
[[station]]
name = "c"
source = {{ kind = "genicam", producer = "{tmp_path}/manufacturer.cti" }}
trigger = {{ kind = "http" }}
[[station]]
name = "d"
source = {{ kind = "folder", path = "{tmp_path}", mount_point = "{tmp_path}" }}
""")
    lines = run("check", file, code=2)
    prefix = f"touchstone-line-agent: {file}: "
    assert [line.removeprefix(prefix) for line in lines] == [
        f"service.key_file: {key}: No such file or directory",
        f"queue.path: {tmp_path}/file is not a folder",
        f"station[1].source.path: {tmp_path}/in: No such file or directory",
        f"station[1].sink[1].path: {tmp_path}/file is not a folder",
        f"station[2].source.path: {tmp_path}/video.avi: No such file or directory",
        f"station[3].source.producer: {tmp_path}/manufacturer.cti: No such file or directory",
        f"station[4].source.mount_point: nothing is mounted at {tmp_path}",
    ]
    for data, error in ((b"\xef\xbb\xbf", "is empty"), (b"\xff", "save it as UTF-8"), (b"two words", "not an API key")):
        key.write_bytes(data)
        assert error in run("check", file, code=2)[0]
        assert error in run("run", file, code=2)[0]
    key.write_text("ts_key\r\n", encoding="utf-16")
    assert "service" not in run("check", file, code=2)[0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_written_by_windows_programs_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "in").mkdir()
    file = tmp_path / "line.toml"
    text = CONFIG.replace("{folder}", str(tmp_path)).replace('"a"\n', '"a"\ncategory = "Träger"\n')
    file.write_text(text.replace("\n", "\r\n"), encoding=encoding)
    assert "ok: a (folder, 0 sinks)" in run("check", file)[0]
    file.write_bytes(text.encode("latin-1"))
    [line] = run("check", file, code=2)
    assert "neither UTF-8 nor UTF-16" in line


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (('kind = "folder"', 'kind = "teleport"'), ["station[1].source: ", "teleport"]),
        (('kind = "folder"', 'kind = "camera"'), ["station[1].source.path: there is no such setting"]),
        (('name = "a"', 'name = "a b"'), ["station[1].name: "]),
        (('name = "a"', 'name = "a"\nspeed = 3'), ["station[1].speed: there is no such setting"]),
        (('name = "a"', 'name = "a"\ndeadline_ms = 0'), ["station[1].deadline_ms: "]),
        (('name = "a"', 'name = "a"\nsink = [{kind = "modbus", host = "x"}]'), ["station[1].sink[1].reject_coil: "]),
        (('name = "a"', 'name = "a"\nsink = [{kind = "mqtt"}]'), ["station[1].sink[1]: give decision_topic"]),
        (('name = "a"', 'name = "a"\ntrigger = {kind = "http"}'), ["station[1]: a folder source needs no trigger"]),
        ((FOLDER, 'kind = "camera"\ndevice = 0'), ["station[1]: a camera source needs"]),
        ((FOLDER, 'kind = "camera"'), ["station[1].source: give either device or url"]),
        ((FOLDER, 'kind = "camera"\ndevice = 2147483648'), ["station[1].source.device: "]),
        *(
            (
                ('name = "a"', f'name = "a"\ntrigger = {{kind = "mqtt", host = "x", topic = "{topic}"}}'),
                ["station[1].trigger.topic: "],
            )
            for topic in ("", "a/#/b", "a#", "a+", "#/a")
        ),
        (('path = "{folder}/parts.sqlite"', ""), ["queue.path: is missing"]),
        (("[[station]]", "[station]"), ["station: write [[…]] instead of […]"]),
        (('kind = "folder"', ""), ["station[1].source: kind is missing"]),
        (("[queue]", "[queue"), ["line.toml: Expected"]),
        (('name = "a"', 'name = "a"\ncategory = "a\\u0000"'), ["station[1].category: has control characters"]),
        (('kind = "folder"', 'kind = "folder"\npattern = "*/*.png"'), ["station[1].source.pattern: "]),
        (
            ('name = "a"', 'name = "a"\nsink = [{kind = "mqtt", decision_topic = "a/#"}]'),
            ["station[1].sink[1].decision_topic: "],
        ),
        (
            ('name = "a"', 'name = "a"\nsink = [{kind = "folder", path = "{folder}/in"}]'),
            ["is a source: what a sink writes there would be inspected"],
        ),
    ],
)
def test_an_error_names_its_setting(
    tmp_path: Path, change: tuple[str, str], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert change[0] in CONFIG
    file = tmp_path / "line.toml"
    file.write_text(CONFIG.replace(*change).replace("{folder}", str(tmp_path)))
    lines = check(file, capsys)
    assert any(all(word in line for word in expected) for line in lines), lines
    assert main(["run", str(file)]) == 2
    assert capsys.readouterr().err.splitlines() == lines


def test_every_error_has_its_own_line(tmp_path: Path) -> None:
    file = tmp_path / "line.toml"
    file.write_text(
        'queue = {}\n[[station]]\nname = "a b"\nsource = {kind = "folder", path = "x", poll_interval_ms = "often"}\n'
    )
    lines = run("check", file, code=2)
    assert len(lines) == 3
    for line, setting in zip(
        lines, ("queue.path", "station[1].name", "station[1].source.poll_interval_ms"), strict=True
    ):
        assert line.startswith(f"touchstone-line-agent: {file}: {setting}: ")


def test_duplicate_names_and_files_are_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = CONFIG.replace("{folder}", str(tmp_path))
    station = text[text.index("[[station]]") :]
    file = tmp_path / "line.toml"
    file.write_text(text + station)
    assert "more than one station is named 'a'" in check(file, capsys)[0]
    file.write_text(text + station.replace('"a"', '"b"'))
    assert "in is the source of more than one station" in check(file, capsys)[0]
    station = station.replace("/in", "/other")
    sink = '[[station.sink]]\nkind = "csv"\npath = "x.csv"\n'
    file.write_text(text + sink + station.replace('"a"', '"b"') + sink)
    assert "x.csv is written by more than one sink" in check(file, capsys)[0]
    assert "No such file" in check(tmp_path / "missing.toml", capsys)[0]


def test_an_agent_that_cannot_start_reports_why_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "line.toml"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        file.write_text(f"[health]\nport = {port}\n" + CONFIG.replace("{folder}", str(tmp_path)))
        [line] = run("run", file, code=2)
    assert "in use" in line


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", None),
        (b" 17 \n", "17"),
        (b"A-17", "A-17"),
        (b"12E4711", "12E4711"),
        (b"1E5", "1E5"),
        (b"1.200", "1.200"),
        (b"0017", "0017"),
        (b"NaN", "NaN"),
        (b"true", "true"),
        (b"[17]", "[17]"),
        ("\ufeffA-17".encode(), "A-17"),
        (b'{"part_id": "A-1", "x": 2}', "A-1"),
        (b'{"part_id": "12E4711"}', "12E4711"),
        (b'{"part_id": 5}', "5"),
        (b'{"part_id": 12E4711}', "12E4711"),
        (b'{"part_id": 1.200}', "1.200"),
        (b'{"part_id": 123456789012345678901234567890}', "123456789012345678901234567890"),
        (b'{"part_id": NaN}', "NaN"),
        (b'"12E4711"', "12E4711"),
        (b'{"part_id": 0017}', '{"part_id": 0017}'),  # not JSON
        (b'"half', '"half'),
        (b'{"a":' * 40_000, ('{"a":' * 40_000)[: 64 << 10]),
        (b"{}", None),
        (b'{"part_id": null}', None),
        (b'{"part_id": ["a"]}', None),
        (b'{"part_id": true}', None),
        (b"\xff", "\ufffd"),
    ],
)
def test_a_trigger_message_may_contain_a_part_id(payload: bytes, expected: str | None) -> None:
    assert parse_part_id(payload) == expected


def test_every_metric_and_setting_of_the_agent_is_documented() -> None:
    page = (ROOT / "docs/line-agent.md").read_text()
    documented = dict(re.findall(r"^\| `(\w+)` \| (?:`\w+` ?)+\| (.*) \|$", page, re.MULTILINE))
    prefix = "touchstone_line_agent_"
    families = {
        family.name.removeprefix(prefix) + ("_total" if family.type == "counter" else ""): family.documentation
        for family in Metrics().registry.collect()
    }
    assert documented == families
    example = (ROOT / "clients/line_agent/touchstone_line_agent/example.toml").read_text()
    settings = {name for table in (Service, Queue, Health, FolderSource, Station) for name in table.model_fields}
    assert not [name for name in settings - {"source", "trigger", "sink"} if f"{name} =" not in example]


def test_check_tells_folders_that_are_given_as_files(tmp_path: Path) -> None:
    file = tmp_path / "line.toml"
    for name in ("in", "store", "results"):
        (tmp_path / name).mkdir()
    text = CONFIG.format(folder=tmp_path).replace("parts.sqlite", "store")
    file.write_text(f'{text}[[station.sink]]\nkind = "csv"\npath = "{tmp_path}/results"\n')
    prefix = f"touchstone-line-agent: {file}: "
    assert [line.removeprefix(prefix) for line in run("check", file, code=2)] == [
        f"queue.path: {tmp_path}/store is a folder: give the name of a file",
        f"station[1].sink[1].path: {tmp_path}/results is a folder: give the name of a file",
    ]


def test_an_agent_that_cannot_start_names_the_store_or_the_address(tmp_path: Path) -> None:
    file, store = tmp_path / "line.toml", tmp_path / "parts.sqlite"
    (tmp_path / "in").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        file.write_text(f"[health]\nport = {port}\n{CONFIG.format(folder=tmp_path)}")
        [line] = run("run", file, code=2)
        assert line == f"touchstone-line-agent: 127.0.0.1:{port}: Address already in use"
    parts = PartStore(store, 1, 1)
    [line] = run("run", file, code=2)
    parts.close()
    assert line == f"touchstone-line-agent: {store}: another line agent uses it"
    store.write_bytes(b"no store" * 1000)
    [line] = run("run", file, code=2)
    assert line == f"touchstone-line-agent: {store}: file is not a database"
