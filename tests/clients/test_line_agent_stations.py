"""What an agent reports of its stations to the service, and what becomes of parts when it cannot."""

from __future__ import annotations

import csv
import io
import json
import threading
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clients.helpers.http_front import HttpFront
from tests.clients.helpers.machines import Agent, free_port, machine, wait_until
from tests.helpers.part_images import part
from touchstone_client import Client, Station, StationComponent
from touchstone_client.cli import main
from touchstone_line_agent.sources.frame_encoding import encode_jpeg
from touchstone_line_agent.station_status import StationStatus


def agent(folder: Path, url: str, station: str, sinks: str) -> Agent:
    """An agent with a folder of two parts."""
    (folder / "incoming").mkdir()
    for index in range(2):
        (folder / "incoming" / f"p{index}.png").write_bytes(part(index))
    return Agent(
        folder,
        f"""
[service]
url = "{url}"
[[station]]
name = "{station}"
category = "disc"
deadline_ms = 3000
source = {{ kind = "folder", path = "{folder}/incoming", poll_interval_ms = 20, settle_ms = 20 }}
sink = [{{ kind = "csv", path = "{folder}/results.csv" }}{sinks}]
""",
    )


def reported(client: Client, name: str) -> Station | None:
    return next((station for station in client.stations() if station.name == name), None)


def component(client: Client, station: str, start: str) -> StationComponent:
    station_report = reported(client, station)
    assert station_report is not None
    [matching] = [component for component in station_report.components if component.name.startswith(start)]
    return matching


def test_sources_gates_and_sinks_are_reported_with_their_errors_and_without_secrets_until_the_agent_is_killed(
    service: str, tmp_path: Path
) -> None:
    hook = f"http://user:hunter2@127.0.0.1:{free_port()}/hook-hunter2?token=hunter2"
    sinks = f', {{ kind = "webhook", url = "{hook}" }}'
    sinks += f', {{ kind = "modbus", host = "127.0.0.1", port = {free_port()}, reject_coil = 3 }}'
    with Client(service) as client:
        with agent(tmp_path, service, "reported", sinks).start() as process:
            wait_until(lambda: reported(client, "reported"), "a first report", 30)
            wait_until(lambda: component(client, "reported", "csv:").count == 2, "two records", 30)
            wait_until(lambda: component(client, "reported", "webhook:").error, "the webhook's error", 30)
            station = reported(client, "reported")
            assert station is not None
            assert not station.silent
            assert [(component.role, component.count) for component in station.components] == [
                ("source", 2),
                ("gate", 0),
                ("sink", 2),
                ("sink", 0),
            ]
            source, gate, table, webhook = station.components
            assert (source.name, source.error, table.error, table.last_error) == ("folder", None, None, None)
            assert not station.sends_frames
            assert gate.name.startswith("modbus:127.0.0.1:")
            assert gate.last_error
            assert webhook.last_error_at is not None
            assert "hunter2" not in str(station)
            last = station.last_part
            assert station.parts == 2
            assert last is not None
            assert (last.part_id, last.decision, last.verdict) == ("p1", "accept", "normal")
            assert last.inspection_id is not None
            assert client.inspection(last.inspection_id).station == "reported"
            output = io.StringIO()
            with redirect_stdout(output):
                assert main(["--url", service, "stations"]) == 0
                assert main(["--url", service, "stations", "--json"]) == 0
            table_text, _, rest = output.getvalue().partition("\n[")
            assert "failing" in table_text
            assert f"reported: {gate.name}: " in table_text
            assert "reported" in [station["name"] for station in json.loads("[" + rest)]
            process.kill()
            process.wait()
        wait_until(lambda: (reported(client, "reported") or station).silent, "a silent station", 30)


def test_a_sink_that_works_again_keeps_its_last_error(service: str, tmp_path: Path) -> None:
    (tmp_path / "results.csv").mkdir()  # which no table can be written to
    with Client(service) as client, agent(tmp_path, service, "mended", "").start():
        wait_until(lambda: reported(client, "mended"), "a first report", 30)
        wait_until(lambda: component(client, "mended", "csv:").error, "the error", 30)
        (tmp_path / "results.csv").rmdir()
        wait_until(lambda: component(client, "mended", "csv:").error is None, "no error", 30)
        wait_until(lambda: component(client, "mended", "csv:").count == 2, "two records", 30)
        assert component(client, "mended", "csv:").last_error


def test_reports_that_hang_delay_no_part(service: str, tmp_path: Path) -> None:
    asked, released = threading.Event(), threading.Event()

    def hang_on_reports(path: str, _: str) -> int | None:
        if not path.startswith("/stations/"):
            return None
        asked.set()
        released.wait(60)
        return 504

    with HttpFront(service, hang_on_reports) as front, agent(tmp_path, front.url, "hanging", "").start():
        path = tmp_path / "results.csv"
        wait_until(lambda: path.exists() and len(path.read_text().splitlines()) == 3, "both records", 30)
        assert asked.wait(30)
        records = list(csv.DictReader(path.read_text().splitlines()))
        released.set()
    assert [(record["outcome"], record["reason"]) for record in records] == [("inspected", "verdict")] * 2


def test_a_camera_is_watched_without_any_part_and_only_while_somebody_watches(service: str, tmp_path: Path) -> None:
    port = free_port()
    camera = f'source = {{ kind = "camera", url = "rtsp://127.0.0.1:{port}/camera" }}\ntrigger = {{ kind = "http" }}'
    config = f'[service]\nurl = "{service}"\n'
    for name, more in (("watched", ""), ("private", "live_view = false\n")):
        config += f'[[station]]\nname = "{name}"\n{more}{camera}\n'
    with Client(service) as client, machine("rtsp_server", tmp_path, port), Agent(tmp_path, config).start():
        for name in ("watched", "private"):
            wait_until(partial(reported, client, name), "a first report", 30)
        assert [client.station_frame(name) for name in ("watched", "private")] == [None, None]
        frames: set[bytes] = set()

        def sees_three_frames() -> bool:
            if (frame := client.station_frame("watched")) is not None:
                frames.add(frame.data)
                assert frame.age_s <= 5
            return len(frames) == 3

        wait_until(sees_three_frames, "three different frames", 30)
        image = cv2.imdecode(np.frombuffer(frames.pop(), np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (144, 160, 3)
        assert image[72, 80].mean() > 150  # the disc, in front of a dark ground
        assert image[5, 5].mean() < 100
        assert client.station_frame("private") is None
        watched, private = reported(client, "watched"), reported(client, "private")
        assert watched is not None
        assert private is not None
        assert (watched.sends_frames, watched.parts, private.sends_frames) == (True, 0, False)
        output = io.StringIO()
        with redirect_stdout(output):
            assert main(["--url", service, "frame", "watched", str(tmp_path / "now.jpg")]) == 0
            assert main(["--url", service, "frame", "private", str(tmp_path / "no.jpg"), "--wait", "0"]) == 1
        assert (tmp_path / "now.jpg").read_bytes().startswith(b"\xff\xd8")
        assert not (tmp_path / "no.jpg").exists()
        wait_until(lambda: not (reported(client, "watched") or watched).watched, "nobody watches", 30)
        assert client.station_frame("watched") is None  # deleted, and no more are sent


def test_frames_of_12_bits_become_small_images_of_8() -> None:
    frame = np.full((1200, 1000), 4095, np.uint16)
    frame[:, 500:] = 1024
    image = cv2.imdecode(np.frombuffer(encode_jpeg(frame, 12), np.uint8), cv2.IMREAD_UNCHANGED)
    assert image.shape == (640, 533)
    assert [round(float(image[320, column]) / 8) for column in (100, 433)] == [32, 8]


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("webhook:https://u:p@hooks.plant/secret?key=1", "webhook:https://hooks.plant/…"),
        ("https://u:p/w@hooks.plant/x returned 500: no", "https://hooks.plant/… returned 500: no"),
        ("opcua:opc.tcp://plc:4840/ns=2;s=Reject", "opcua:opc.tcp://plc:4840/…"),
        ("cannot open 'rtsp://admin:p@cam/stream'", "cannot open 'rtsp://cam/…'"),
        ("http://plain:9000/", "http://plain:9000/"),
        ("a\nb\x00", "a\ufffdb\ufffd"),
        ("x" * 900, "x" * 500),
    ],
)
def test_of_an_address_only_its_host_is_reported(text: str, public: str) -> None:
    status = StationStatus("folder", (), (text,))
    status.report(text, text)
    [_, sink] = status.snapshot("", sends_frames=False).components
    assert (sink.name, sink.error, sink.last_error) == (public,) * 3
