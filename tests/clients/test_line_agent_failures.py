"""A failure of one part does not block the others; a failure of every part is an outage, and retried."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from tests.clients.helpers.http_front import HttpFront
from tests.clients.helpers.machines import Agent, free_port, wait_until
from tests.helpers.part_images import part
from tests.helpers.small_disk import small_disk
from touchstone_client import Client, InspectionFilter


def line(folder: Path, url: str, *, category: str = "disc", parts: int = 4, more: str = "") -> Agent:
    """An agent with a folder of images and a CSV file. more: settings of the station."""
    (folder / "incoming").mkdir()
    for index in range(parts):
        (folder / "incoming" / f"p{index}.png").write_bytes(part(index))
    config = f"""
[service]
url = "{url}"
[[station]]
name = "line"
category = "{category}"
deadline_ms = 3000
{more}
source = {{ kind = "folder", path = "{folder}/incoming", poll_interval_ms = 20, settle_ms = 20 }}
sink = [{{ kind = "csv", path = "{folder}/results.csv" }}]
"""
    return Agent(folder, config)


def records(folder: Path) -> list[dict[str, str]]:
    path = folder / "results.csv"
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


@pytest.mark.parametrize("status", [400, 413, 415, 422, 500, 501])
def test_a_part_that_is_refused_for_good_is_recorded_and_the_next_part_is_inspected(
    service: str, tmp_path: Path, status: int
) -> None:
    def respond(path: str, name: str) -> int | None:
        return status if (path, name) == ("/detect", "p1.png") else None

    with HttpFront(service, respond) as front:
        agent = line(tmp_path, front.url)
        with agent.start():
            wait_until(lambda: len(records(tmp_path)) == 4, "every record")
            wait_until(lambda: agent.errors() == {"line": {}}, "no errors")
            assert agent.metric("parts_completed_total", station="line", outcome="refused") == 1
            assert "p1" in httpx.get(f"http://127.0.0.1:{agent.port}/").text
    recorded = records(tmp_path)
    assert [record["outcome"] for record in recorded] == ["inspected", "refused", "inspected", "inspected"]
    assert (recorded[1]["decision"], recorded[1]["reason"]) == ("reject", "fail-safe")
    assert f"returned {status}" in recorded[1]["detail"]
    attempts = front.requests.count(("/detect", "p1.png"))
    assert attempts == (1 if status < 500 else 4), "one before the deadline, and three later ones"


@pytest.mark.parametrize("status", [301, 401, 404, 429, 500, 502])
def test_a_failure_of_every_part_is_an_outage_and_no_part_is_lost(service: str, tmp_path: Path, status: int) -> None:
    with HttpFront(service, lambda *_: status) as front:
        agent = line(tmp_path, front.url)
        with agent.start():
            wait_until(lambda: str(status) in agent.errors()["line"].get("service", ""), "the error", 30)
            wait_until(lambda: len(front.requests) > 8, "repeated requests", 30)
            wait_until(lambda: agent.metric("decisions_total", station="line") == 4, "every decision", 30)
            assert records(tmp_path) == []
            front.status = lambda *_: None
            wait_until(lambda: len(records(tmp_path)) == 4, "every record", 30)
    assert {record["outcome"] for record in records(tmp_path)} == {"inspected"}
    assert {record["reason"] for record in records(tmp_path)} == {"fail-safe"}


def test_a_part_need_not_wait_for_its_recording_before_its_deadline(service: str, tmp_path: Path) -> None:
    with HttpFront(service, lambda *_: None) as front:
        agent = line(tmp_path, front.url, parts=1, more="wait_for_recording = false")
        with agent.start():
            wait_until(lambda: len(records(tmp_path)) == 1, "the record", 30)
    [record] = records(tmp_path)
    assert (record["outcome"], record["detail"]) == ("inspected", ""), "nothing is odd about it"
    sent = [b'name="wait_for_recording"\r\n\r\nfalse' in body for body in front.bodies]
    with Client(service) as client:  # one that was late is inspected again, and waits
        station = InspectionFilter(station="line")
        wait_until(
            lambda: record["inspection_id"] in {inspection.id for inspection in client.inspections(station)},
            "the inspection",
            30,
        )
    assert sent[0]


def test_invalid_text_in_a_response_does_not_stop_the_agent(service: str, tmp_path: Path) -> None:
    problem = {"type": "about:blank", "title": "t", "status": 422, "detail": "half a pair \ud800 and \x00"}
    with HttpFront(service, lambda *_: None) as front:
        handler = front._server.RequestHandlerClass

        def refuse(self: object) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))  # type: ignore[attr-defined]
            assert body
            self._reply(422, json.dumps(problem).encode(), "application/problem+json")  # type: ignore[attr-defined]

        handler.do_POST = refuse  # type: ignore[attr-defined]
        agent = line(tmp_path, front.url, parts=1)
        with agent.start():
            wait_until(lambda: len(records(tmp_path)) == 1, "the record", 30)
    assert records(tmp_path)[0]["detail"] == "half a pair \ufffd and \ufffd"


FULL = """
[service]
url = "{url}"
[[station]]
name = "full"
deadline_ms = 500
source = {{ kind = "camera", url = "rtsp://127.0.0.1:{free}/nothing", frame_timeout_ms = 50 }}
trigger = {{ kind = "http" }}
sink = [{{ kind = "csv", path = "{folder}/results.csv" }}]
"""


def test_a_full_disk_delays_no_gate_and_records_are_written_when_there_is_space(service: str, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.decode()}")
    try:
        agent = Agent(tmp_path, FULL.format(url=service, free=free_port(), folder=tmp_path))
        agent.file.write_text(agent.file.read_text().replace(f"{tmp_path}/parts.sqlite", f"{small}/parts.sqlite"))
        url = f"http://127.0.0.1:{agent.port}/stations/full/trigger"
        with agent.start():
            first = httpx.post(url, timeout=30).json()
            filler = small / "filler"
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            responses = [httpx.post(url, timeout=30).json() for _ in range(60)]
            assert {response["reason"] for response in responses} == {"fail-safe"}
            assert max(response["after_ms"] for response in responses) < 1500
            indices = [first["sequence"], *(response["sequence"] for response in responses)]
            assert indices == sorted(set(indices)), "unique sequence numbers"
            wait_until(lambda: "store" in agent.errors()["full"], "the error")
            filler.unlink()
            wait_until(lambda: len(records(tmp_path)) == 61, "every record", 60)
            wait_until(lambda: "store" not in agent.errors()["full"], "no error any more")
        assert [int(record["sequence"]) for record in records(tmp_path)] == indices
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


def test_an_agent_starts_on_a_full_disk_and_completes_what_was_undecided_when_there_is_space(
    service: str, tmp_path: Path
) -> None:
    try:
        with small_disk(tmp_path / "small", "16m") as small:
            agent = Agent(tmp_path, FULL.format(url=service, free=free_port(), folder=tmp_path))
            agent.file.write_text(agent.file.read_text().replace(f"{tmp_path}/parts.sqlite", f"{small}/parts.sqlite"))
            url = f"http://127.0.0.1:{agent.port}/stations/full/trigger"
            with agent.start():
                httpx.post(url, timeout=30)
                wait_until(lambda: len(records(tmp_path)) == 1, "the first record")
            undecided = (
                "INSERT INTO part (key, station, part_id, filename, captured_at, size) VALUES (?, ?, ?, ?, 9, 0)"
            )
            with contextlib.closing(sqlite3.connect(small / "parts.sqlite")) as database, database:
                database.execute(undecided, ("k", "full", "cut-short", "cut-short.png"))
            filler = small / "filler"
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            with agent.start():
                responses = [httpx.post(url, timeout=30).json() for _ in range(2)]
                assert {response["reason"] for response in responses} == {"fail-safe"}
                filler.unlink()
                wait_until(lambda: len(records(tmp_path)) == 4, "every record", 60)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no small file system can be mounted here: {error}")
    reasons = {record["part_id"]: record["reason"] for record in records(tmp_path)}
    assert reasons["cut-short"] == "restart"
    assert list(reasons.values()).count("fail-safe") == 3


STOPPING = """
[service]
url = "{url}"
[[station]]
name = "slow"
deadline_ms = 5000
source = {{ kind = "folder", path = "{folder}/incoming", poll_interval_ms = 20, settle_ms = 20 }}
[[station]]
name = "other"
deadline_ms = 500
source = {{ kind = "camera", url = "rtsp://127.0.0.1:{free}/nothing", frame_timeout_ms = 50 }}
trigger = {{ kind = "http" }}
"""


def test_a_station_whose_gates_are_safe_takes_no_trigger_while_another_finishes_a_part(
    service: str, tmp_path: Path
) -> None:
    answered = threading.Event()

    def respond(path: str, _: str) -> int | None:
        if path == "/detect":
            answered.wait(30)
        return None

    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "p.png").write_bytes(part(1))
    with HttpFront(service, respond) as front:
        agent = Agent(tmp_path, STOPPING.format(url=front.url, folder=tmp_path, free=free_port()))
        url = f"http://127.0.0.1:{agent.port}/stations/other/trigger"
        with agent.start() as process:
            wait_until(lambda: ("/detect", "p.png") in front.requests, "a part is inspected")
            assert httpx.post(url, timeout=30).status_code == 200
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: "stopping" in agent.log.read_text(), "the agent stops")
            wait_until(lambda: httpx.post(url, timeout=30).status_code == 503, "triggers are refused", 3)
            answered.set()
            assert process.wait(30) == 0


def run_patched(agent: Agent, patch: str) -> subprocess.Popen[str]:
    """Run an agent in which something is made to fail that cannot be made to from outside."""
    code = (
        f"import sys\n{patch}\nfrom touchstone_line_agent.cli import main\nsys.exit(main(['run', {str(agent.file)!r}]))"
    )
    return subprocess.Popen([sys.executable, "-c", code], env=os.environ, stderr=subprocess.PIPE, text=True)


def test_a_task_restarts_after_an_unexpected_error(service: str, tmp_path: Path) -> None:
    agent = line(tmp_path, service)
    patch = """
from touchstone_line_agent import part_store, station
station._RESTART_DELAY_S = 0.2
next_record, failures = part_store.PartStore.next_record, [1, 2, 3]
def failing(*arguments):
    if failures:
        failures.pop()
        raise RuntimeError("unexpected")
    return next_record(*arguments)
part_store.PartStore.next_record = failing
"""
    process = run_patched(agent, patch)
    try:
        wait_until(lambda: len(records(tmp_path)) == 4, "every record", 60)
        assert agent.metric("unexpected_errors_total", station="line") == 3
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert errors.count("RuntimeError: unexpected") == 3


def test_a_record_on_which_a_sink_raises_an_unexpected_error_does_not_block_the_others(
    service: str, tmp_path: Path
) -> None:
    agent = line(tmp_path, service)
    patch = """
from touchstone_line_agent.sinks import csv_file
append = csv_file.CsvRecords._append
def failing(self, values):
    if values["sequence"] == 1:
        raise RuntimeError("unexpected")
    append(self, values)
csv_file.CsvRecords._append = failing
"""
    process = run_patched(agent, patch)
    try:
        wait_until(lambda: len(records(tmp_path)) == 3, "the other records", 60)
        assert [record["sequence"] for record in records(tmp_path)] == ["2", "3", "4"]
        assert agent.metric("unexpected_errors_total", station="line") == 3
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert errors.count("RuntimeError: unexpected") >= 3
    assert "was not sent" in errors
    with Client(service) as client:
        assert len(list(client.inspections(InspectionFilter(station="line")))) >= 4
