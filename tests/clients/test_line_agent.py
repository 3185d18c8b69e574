"""The line agent in a process of its own, among a real service, broker, PLC, OPC UA server and camera."""

from __future__ import annotations

import collections
import contextlib
import csv
import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from tests.clients.helpers.discs import onboard_discs
from tests.clients.helpers.machines import Agent, MqttListener, free_port, machine, mosquitto, wait_until
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess
from touchstone_client import Client, InspectionFilter


@dataclass(frozen=True)
class Plant:
    """The ports of the machines, and the folder of their logs."""

    broker: int
    modbus: int
    opcua: int
    camera: int
    folder: Path

    def printed(self, name: str) -> list[list[str]]:
        """The lines that a machine has printed, as words."""
        return [line.split() for line in (self.folder / f"{name}.log").read_text().splitlines()]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("plant")
    ports = Plant(free_port(), free_port(), free_port(), free_port(), folder)
    with contextlib.ExitStack() as machines:
        machines.enter_context(mosquitto(folder, ports.broker))
        machines.enter_context(machine("modbus_server", folder, ports.modbus))
        machines.enter_context(machine("opcua_server", folder, ports.opcua))
        machines.enter_context(machine("rtsp_server", folder, ports.camera))
        yield ports


def drop(folder: Path, name: str, data: bytes) -> None:
    """Put a complete file into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / f".{name}").write_bytes(data)
    (folder / f".{name}").rename(folder / name)


def test_every_part_has_exactly_one_record_although_service_and_agent_are_killed(plant: Plant, tmp_path: Path) -> None:
    port = free_port()
    incoming, results, stored = tmp_path / "incoming", tmp_path / "results.csv", tmp_path / "stored"
    incoming.mkdir()
    config = f"""
[service]
url = "http://127.0.0.1:{port}"
[[station]]
name = "lab"
category = "disc"
deadline_ms = 1500
source = {{ kind = "folder", path = "{incoming}", poll_interval_ms = 20, settle_ms = 20 }}
[[station.sink]]
kind = "csv"
path = "{results}"
[[station.sink]]
kind = "folder"
path = "{stored}"
images = "all"
[[station.sink]]
kind = "mqtt"
port = {plant.broker}
record_topic = "kill/lab/record"

[[station]]
name = "press"
category = "disc"
deadline_ms = 3000
source = {{ kind = "camera", url = "rtsp://127.0.0.1:{plant.camera}/camera", frame_timeout_ms = 5000 }}
trigger = {{ kind = "mqtt", port = {plant.broker}, topic = "kill/press/trigger" }}
[[station.sink]]
kind = "mqtt"
port = {plant.broker}
decision_topic = "kill/press/decision"
record_topic = "kill/press/record"
[[station.sink]]
kind = "modbus"
host = "127.0.0.1"
port = {plant.modbus}
reject_coil = 2
sequence_register = 3
heartbeat_register = 4
[[station.sink]]
kind = "opcua"
url = "opc.tcp://127.0.0.1:{plant.opcua}"
reject_node = "ns=2;s=Reject"
part_node = "ns=2;s=Part"
"""
    agent = Agent(tmp_path, config)
    listener = MqttListener(plant.broker, "kill/#")
    dropped, triggered = 0, 0

    def drop_some(count: int) -> None:
        nonlocal dropped
        for _ in range(count):
            drop(incoming, f"part-{dropped:03d}.png", part(3000 + dropped))
            dropped += 1

    def is_decided() -> bool:
        return len(listener.messages("kill/press/decision")) == triggered

    def trigger_some(count: int) -> None:
        nonlocal triggered
        for _ in range(count):
            listener.client.publish("kill/press/trigger", f"p{triggered:03d}", qos=1).wait_for_publish(10)
            triggered += 1
            wait_until(is_decided, "a decision on a part")

    def written_indices() -> list[int]:
        return [int(words[2]) for words in plant.printed("modbus_server") if words[:2] == ["register", "3"]]

    def lab_is_complete() -> bool:
        return len(listener.messages("kill/lab/record")) >= dropped and len(list(stored.glob("*.json"))) >= dropped

    with ServerProcess(tmp_path / "data", port=port).wait_until_live() as service:
        onboard_discs(f"http://127.0.0.1:{port}")
        with agent.start() as process:
            wait_until(lambda: agent.errors() == {"lab": {}, "press": {}}, "no errors")
            trigger_some(3)
            drop_some(8)
            wait_until(lambda: len(listener.messages("kill/lab/record")) >= 3, "the first records")
            service.process.kill()  # in the middle of the folder
            drop_some(8)
            trigger_some(3)
            wait_until(lambda: "service" in agent.errors()["lab"], "the agent notices that the service is unavailable")
            wait_until(lambda: len(written_indices()) == triggered, "the gate's controller has every decision")
            process.kill()
        drop_some(4)
    with contextlib.ExitStack() as restarted:
        process = restarted.enter_context(agent.start())
        wait_until(lambda: list(agent.errors()["press"]) in ([], ["service"]), "camera and broker are connected")
        trigger_some(1)
        restarted.enter_context(ServerProcess(tmp_path / "data", port=port)).wait_until_live()
        wait_until(lambda: agent.errors() == {"lab": {}, "press": {}}, "no errors again")
        drop_some(4)
        trigger_some(3)
        wait_until(lab_is_complete, "every record of the folder")
        wait_until(lambda: len(listener.messages("kill/press/record")) >= triggered, "every record of the camera")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, agent.log.read_text()
        with Client(f"http://127.0.0.1:{port}") as client:
            inspected = {name: list(client.inspections(InspectionFilter(station=name))) for name in ("lab", "press")}
    listener.close()

    # The folder: one line, one file and one message per part, in the order of capture.
    expected = [f"part-{index:03d}" for index in range(dropped)]
    lines = list(csv.DictReader(results.read_text().splitlines()))
    assert [line["part_id"] for line in lines] == expected
    assert [line["part_id"] for line in listener.messages("kill/lab/record")] == expected
    assert {line["outcome"] for line in lines} == {"inspected"}
    records = [json.loads(path.read_text()) for path in sorted(stored.glob("*.json"))]
    assert [record["part_id"] for record in records] == expected
    assert [path.read_bytes() for path in sorted(stored.glob("*.png"))] == [part(3000 + n) for n in range(dropped)]
    assert not [path for path in incoming.iterdir() if path.is_file()]
    # The service inspected each part once, and its history agrees with the records.
    assert sorted(inspection.part_id or "" for inspection in inspected["lab"]) == expected
    assert {inspection.id for inspection in inspected["lab"]} == {line["inspection_id"] for line in lines}

    # The camera: per part one decision at every gate, and one record.
    parts = [f"p{index:03d}" for index in range(triggered)]
    decisions = listener.messages("kill/press/decision")
    assert [decision["part_id"] for decision in decisions] == parts
    assert [decision["reason"] for decision in decisions] == ["verdict"] * 3 + ["fail-safe"] * 4 + ["verdict"] * 3
    assert {decision["decision"] for decision in decisions if decision["reason"] == "fail-safe"} == {"reject"}
    messages = listener.messages("kill/press/record")
    assert [message["part_id"] for message in messages] == parts
    sent, recorded = ([message["decision"] for message in told] for told in (decisions, messages))
    # The gate goes first: the decision on the last part may have been sent, and not stored, when the agent was killed.
    if recorded[5] == "missed":
        assert messages[5]["reason"] == "restart"
        recorded[5] = sent[5]
    assert recorded == sent
    assert {message["outcome"] for message in messages} == {"inspected"}
    assert sorted(inspection.part_id or "" for inspection in inspected["press"]) == parts
    writes = plant.printed("modbus_server")
    assert written_indices() == [decision["sequence"] for decision in decisions]
    before = {words[2]: writes[index - 1] for index, words in enumerate(writes) if words[:2] == ["register", "3"]}
    for decision in decisions:
        assert before[str(decision["sequence"])] in (
            ["coil", "2", str(int(decision["decision"] == "reject"))],
            ["register", "4", before[str(decision["sequence"])][2]],
        )
    assert [words for words in writes if words[0] == "coil"][-1] == ["coil", "2", "1"], (
        "the gate is left in the safe state"
    )
    assert len([words for words in writes if words[:2] == ["register", "4"]]) > 3, "heartbeats"
    keys = [words[1] for words in plant.printed("opcua_server") if words[0] == "Part" and len(words) == 2]
    assert keys == [decision["key"] for decision in decisions]
    counted = collections.Counter(keys)
    assert set(counted.values()) == {1}


def test_a_part_without_an_image_has_a_decision_and_a_record(service: str, plant: Plant, tmp_path: Path) -> None:
    results = tmp_path / "results.csv"
    config = f"""
[service]
url = "{service}"
[[station]]
name = "blind"
deadline_ms = 2000
fail_safe = "accept"
source = {{ kind = "camera", url = "rtsp://127.0.0.1:{free_port()}/nothing", frame_timeout_ms = 200 }}
trigger = {{ kind = "http" }}
sink = [{{ kind = "csv", path = "{results}" }}]

[[station]]
name = "unplugged"
source = {{ kind = "genicam", producer = "{tmp_path}/manufacturer.cti" }}
trigger = {{ kind = "http" }}

[[station]]
name = "seeing"
category = "disc"
deadline_ms = 20000
source = {{ kind = "camera", url = "rtsp://127.0.0.1:{plant.camera}/camera", frame_timeout_ms = 5000 }}
trigger = {{ kind = "http" }}

[[station]]
name = "clock"
deadline_ms = 20000
source = {{ kind = "camera", url = "rtsp://127.0.0.1:{plant.camera}/camera", frame_timeout_ms = 5000 }}
trigger = {{ kind = "interval", interval_ms = 300 }}
"""
    agent = Agent(tmp_path, config)
    with agent.start():
        url = f"http://127.0.0.1:{agent.port}"
        response = httpx.post(f"{url}/stations/blind/trigger", params={"part_id": "unseen"}, timeout=30).json()
        assert (response["part_id"], response["decision"], response["reason"]) == ("unseen", "accept", "fail-safe")
        assert "source" in agent.errors()["blind"]
        unplugged = httpx.post(f"{url}/stations/unplugged/trigger", timeout=30).json()
        assert (unplugged["decision"], unplugged["reason"]) == ("reject", "fail-safe")
        assert "no GenTL producer at" in agent.errors()["unplugged"]["source"]
        assert httpx.get(f"{url}/readyz").status_code == 503
        assert httpx.get(f"{url}/healthz").status_code == 200
        seen = httpx.post(f"{url}/stations/seeing/trigger", timeout=30).json()
        assert (seen["reason"], seen["part_id"]) == ("verdict", seen["key"])
        assert httpx.post(f"{url}/stations/none/trigger").status_code == 404
        assert httpx.post(f"{url}/stations/clock/trigger").status_code == 409
        wait_until(
            lambda: agent.metric("decisions_total", station="clock", reason="verdict") >= 2,
            "parts of the interval trigger",
        )
        wait_until(lambda: results.exists() and results.read_text().count("\n") == 2, "the record")
        assert agent.metric("parts_completed_total", station="blind", outcome="no-image") == 1
    [line] = csv.DictReader(results.read_text().splitlines())
    assert (line["part_id"], line["outcome"], line["decision"]) == ("unseen", "no-image", "accept")


def test_a_video_is_inspected_frame_by_frame_and_no_frame_twice(service: str, tmp_path: Path) -> None:
    video, results = tmp_path / "video.avi", tmp_path / "results.csv"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 144))
    for index in range(21):
        writer.write(cv2.imdecode(np.frombuffer(part(index), np.uint8), cv2.IMREAD_COLOR))
    writer.release()
    config = f"""
[service]
url = "{service}"
[[station]]
name = "video"
category = "disc"
deadline_ms = 20000
source = {{ kind = "video", path = "{video}", frame_step = 3, interval_ms = 50 }}
sink = [{{ kind = "csv", path = "{results}" }}]
"""
    agent = Agent(tmp_path, config)

    def lines() -> list[str]:
        if not results.exists():
            return []
        return [line["part_id"] for line in csv.DictReader(results.read_text().splitlines())]

    with agent.start() as process:
        wait_until(lambda: len(lines()) >= 2, "the first frames")
        process.kill()
    with agent.start():
        wait_until(lambda: len(lines()) >= 7, "every third frame")
        wait_until(lambda: "end of the source" in agent.log.read_text(), "the end of the video")
    assert lines() == [f"video-{index:06d}" for index in range(0, 21, 3)]
    with Client(service) as client:
        assert len(list(client.inspections(InspectionFilter(station="video")))) == 7


def test_records_wait_in_order_for_an_unavailable_sink_and_the_store_is_bounded(service: str, tmp_path: Path) -> None:
    incoming, port = tmp_path / "incoming", free_port()
    incoming.mkdir()
    config = f"""
[service]
url = "{service}"
[[station]]
name = "bounded"
category = "disc"
deadline_ms = 20000
source = {{ kind = "folder", path = "{incoming}", poll_interval_ms = 20, settle_ms = 20, after_read = "delete" }}
sink = [{{ kind = "webhook", url = "http://127.0.0.1:{port}/parts" }}]
"""
    agent = Agent(tmp_path, config)
    text = agent.file.read_text()
    agent.file.write_text(text.replace("[health]", "max_images = 3\n[health]"))
    for index in range(6):
        drop(incoming, f"{index}.png", part(index))
    received: list[tuple[str, str]] = []
    failures = [True]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            failing = failures.pop() if failures else False
            if not failing:
                received.append((body["part_id"], self.headers["idempotency-key"]))
            self.send_response(500 if failing else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with agent.start():
        wait_until(lambda: "store" in agent.errors()["bounded"], "the store is full")
        assert len(list(incoming.glob("*.png"))) == 3, "the others stay in the folder"
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        wait_until(lambda: len(received) == 6, "every record")
        wait_until(lambda: agent.errors() == {"bounded": {}}, "no errors")
        server.shutdown()
        thread.join()
        server.server_close()
    assert [key for key, _ in received] == [str(index) for index in range(6)]
    assert len({key for _, key in received}) == 6
    assert not list(incoming.glob("*.png"))
    stored = (tmp_path / "parts.sqlite").stat().st_size
    assert stored < 1 << 20
