"""Decisions reach every gate in time although connections are lost; what could not be sent is reported."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.clients.helpers.machines import Agent, MqttListener, free_port, machine, mosquitto, wait_until
from tests.clients.helpers.tcp_gateway import TcpGateway
from tests.helpers.part_images import part
from touchstone_line_agent.config import ModbusSink
from touchstone_line_agent.part import GateDecision, Part
from touchstone_line_agent.sinks import SinkFailed
from touchstone_line_agent.sinks.modbus import ModbusGate

GATES = ("modbus", "opcua", "mqtt")


@dataclass
class Plant:
    """The machines, and what each received."""

    folder: Path
    ports: dict[str, int]
    listener: MqttListener

    def received(self) -> dict[str, list[str]]:
        """By gate, what identifies the parts of its decisions: their sequence numbers, keys or ids."""
        modbus = [line.split() for line in (self.folder / "modbus_server.log").read_text().splitlines()]
        opcua = [line.split() for line in (self.folder / "opcua_server.log").read_text().splitlines()]
        return {
            "modbus": [words[2] for words in modbus if words[:2] == ["register", "9"]],
            "opcua": [words[1] for words in opcua if words[0] == "Part" and len(words) == 2],
            "mqtt": [str(message["part_id"]) for message in self.listener.messages("gate/decision")],
        }


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("plant")
    ports = {name: free_port() for name in GATES}
    with contextlib.ExitStack() as machines:
        machines.enter_context(mosquitto(folder, ports["mqtt"]))
        machines.enter_context(machine("modbus_server", folder, ports["modbus"]))
        machines.enter_context(machine("opcua_server", folder, ports["opcua"]))
        listener = MqttListener(ports["mqtt"], "gate/#")
        yield Plant(folder, ports, listener)
        listener.close()


class Line:
    """An agent with a watched folder and every kind of gate."""

    def __init__(self, folder: Path, service: str, ports: dict[str, int], *, deadline_ms: int = 3000) -> None:
        self.incoming, self.results = folder / "incoming", folder / "results.csv"
        self.incoming.mkdir()
        config = f"""
[service]
url = "{service}"
[[station]]
name = "gate"
category = "disc"
deadline_ms = {deadline_ms}
source = {{ kind = "folder", path = "{self.incoming}", poll_interval_ms = 10, settle_ms = 10 }}
[[station.sink]]
kind = "modbus"
host = "127.0.0.1"
port = {ports["modbus"]}
reject_coil = 8
sequence_register = 9
[[station.sink]]
kind = "opcua"
url = "opc.tcp://127.0.0.1:{ports["opcua"]}"
reject_node = "ns=2;s=Reject"
part_node = "ns=2;s=Part"
[[station.sink]]
kind = "mqtt"
port = {ports["mqtt"]}
decision_topic = "gate/decision"
record_topic = "gate/record"
[[station.sink]]
kind = "csv"
path = "{self.results}"
"""
        self.agent = Agent(folder, config)

    def drop(self, name: str) -> None:
        """Put an image into the folder."""
        (self.incoming / f".{name}").write_bytes(part(1))
        (self.incoming / f".{name}").rename(self.incoming / f"{name}.png")

    def records(self) -> list[dict[str, str]]:
        return list(csv.DictReader(self.results.read_text().splitlines())) if self.results.exists() else []

    def wait_for(self, count: int) -> list[dict[str, str]]:
        wait_until(lambda: len(self.records()) == count, f"{count} records", 30)
        return self.records()


FAULTS: dict[str, dict[str, float | bool | int]] = {
    "an idle connection is closed": {"idle_s": 0.5},
    "an idle connection is reset": {"idle_s": 0.5, "reset": True},
    "a connection is closed on a request": {"hang_up": 1},
    "a connection is reset on a request": {"hang_up": 1, "reset": True},
    "packets are dropped silently": {},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lost_connection_costs_no_gate_a_decision(service: str, plant: Plant, tmp_path: Path, fault: str) -> None:
    before = plant.received()
    with contextlib.ExitStack() as gateways:
        through = {name: gateways.enter_context(TcpGateway(plant.ports[name])) for name in GATES}
        line = Line(tmp_path, service, {name: each.port for name, each in through.items()})
        with line.agent.start():
            wait_until(lambda: line.agent.errors() == {"gate": {}}, "no errors")
            for name, value in FAULTS[fault].items():
                for each in through.values():
                    setattr(each, name, value)
            for index in range(4):
                time.sleep(0.7)  # idle for longer than the gateways allow
                for each in through.values():
                    if not FAULTS[fault]:
                        each.go_silent()
                    elif "hang_up" in FAULTS[fault]:
                        each.hang_up = 1
                line.drop(f"p{index}")
                line.wait_for(index + 1)
            records = line.records()
            assert line.agent.metric("decisions_not_sent_total") == 0
            ours = [record["key"] for record in records]
            wait_until(
                lambda: set(ours) <= {message["key"] for message in plant.listener.messages("gate/record")},
                "by MQTT",
                30,
            )
    assert [(record["reason"], record["not_sent"]) for record in records] == [("verdict", "")] * 4
    expected = {"modbus": "sequence", "opcua": "key", "mqtt": "part_id"}
    for name, received in plant.received().items():
        new = [key for key, _ in itertools.groupby(received[len(before[name]) :])]  # a decision may be received twice
        assert new == [record[expected[name]] for record in records], name


def test_a_decision_that_cannot_be_sent_is_in_the_records_on_the_page_and_in_the_metrics(
    service: str, plant: Plant, tmp_path: Path
) -> None:
    unused = {name: free_port() for name in GATES}
    line = Line(tmp_path, service, {**unused, "mqtt": plant.ports["mqtt"]}, deadline_ms=1000)
    count = len(plant.listener.messages("gate/record"))
    with line.agent.start():
        line.drop("p0")
        [record] = line.wait_for(1)
        assert (record["reason"], record["outcome"]) == ("verdict", "inspected")
        assert f"modbus:127.0.0.1:{unused['modbus']}/8: " in record["not_sent"]
        assert f"opcua:opc.tcp://127.0.0.1:{unused['opcua']}/ns=2;s=Reject: " in record["not_sent"]
        assert "mqtt" not in record["not_sent"]
        wait_until(lambda: len(plant.listener.messages("gate/record")) > count, "the record by MQTT")
        not_sent = plant.listener.messages("gate/record")[-1]["not_sent"]
        assert isinstance(not_sent, dict)
        assert len(not_sent) == 2
        page = httpx.get(f"http://127.0.0.1:{line.agent.port}/").text
        assert page.count("no connection") >= 2, "of the gate, and of the part"
        for name in ("modbus", "opcua"):
            sinks = [each for each in not_sent if each.startswith(name)]
            assert line.agent.metric("decisions_not_sent_total", station="gate", sink=sinks[0]) == 1
        assert line.agent.metric("decisions_not_sent_total") == 2
        assert sorted(each.partition(":")[0] for each in line.agent.errors()["gate"]) == ["modbus", "opcua"]
        # A gate that becomes available again receives the next decision.
        with machine("modbus_server", tmp_path, unused["modbus"]):
            wait_until(lambda: len(line.agent.errors()["gate"]) == 1, "the agent notices")
            line.drop("p1")
            records = line.wait_for(2)
            assert "modbus" not in records[1]["not_sent"]
            assert "opcua" in records[1]["not_sent"]


def test_an_unavailable_gate_delays_no_other_gate_and_no_part(service: str, plant: Plant, tmp_path: Path) -> None:
    before = plant.received()
    with TcpGateway(plant.ports["opcua"]) as silent:
        line = Line(tmp_path, service, {**plant.ports, "modbus": free_port(), "opcua": silent.port}, deadline_ms=2000)
        with line.agent.start():
            wait_until(lambda: len(line.agent.errors()["gate"]) == 1, "one gate is unavailable")
            with silent.stalled():  # a server that accepts connections and does not respond
                for index in range(6):
                    line.drop(f"p{index}")
                wait_until(lambda: len(plant.received()["mqtt"]) == len(before["mqtt"]) + 6, "the available gate", 20)
                records = line.wait_for(6)
    assert {record["reason"] for record in records} == {"verdict"}
    assert max(float(record["after_ms"]) for record in records) < 2000
    assert all("modbus" in record["not_sent"] and "opcua" in record["not_sent"] for record in records)
    assert not any("mqtt" in record["not_sent"] for record in records)
    assert plant.received()["mqtt"][len(before["mqtt"]) :] == [f"p{index}" for index in range(6)]


def test_a_gate_that_becomes_available_within_the_deadline_receives_the_decision(
    service: str, plant: Plant, tmp_path: Path
) -> None:
    port = free_port()
    line = Line(tmp_path, service, {**plant.ports, "modbus": port}, deadline_ms=20_000)
    with line.agent.start():
        wait_until(lambda: "not reached yet" not in line.agent.errors()["gate"].values(), "a first attempt")
        line.drop("p0")
        wait_until(lambda: line.agent.metric("decision_seconds_count") == 1, "the decision")
        assert line.records() == []
        with machine("modbus_server", tmp_path, port):
            [record] = line.wait_for(1)
            assert (record["reason"], record["not_sent"]) == ("verdict", "")
            assert f"register 9 {record['sequence']}" in (tmp_path / "modbus_server.log").read_text()


def test_lost_connections_are_noticed_between_parts(service: str, plant: Plant, tmp_path: Path) -> None:
    with contextlib.ExitStack() as gateways:
        through = {name: gateways.enter_context(TcpGateway(plant.ports[name])) for name in GATES}
        line = Line(tmp_path, service, {name: each.port for name, each in through.items()})
        with line.agent.start():
            wait_until(lambda: line.agent.errors() == {"gate": {}}, "no errors")
            gateways.close()
            wait_until(lambda: len(line.agent.errors()["gate"]) == 3, "noticed before the next part", 20)
            assert httpx.get(f"http://127.0.0.1:{line.agent.port}/readyz").status_code == 503


class Hook(contextlib.AbstractContextManager["Hook"]):
    """A webhook that responds with a status by part id, and records what it accepted."""

    def __init__(self, status: Callable[[str], int]) -> None:
        self.accepted: list[str] = []
        self.requests: list[str] = []
        self.status = status
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                part_id = json.loads(self.rfile.read(int(self.headers["content-length"])))["part_id"]
                status = hook.status(part_id)
                hook.requests.append(part_id)
                if status < 300:
                    hook.accepted.append(part_id)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"about the record")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/parts"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def agent_with_webhook(folder: Path, service: str, hook: str) -> Agent:
    (folder / "incoming").mkdir()
    for index in range(4):
        (folder / "incoming" / f"p{index}.png").write_bytes(part(index))
    config = f"""
[service]
url = "{service}"
[[station]]
name = "hooked"
category = "disc"
deadline_ms = 20000
source = {{ kind = "folder", path = "{folder}/incoming", poll_interval_ms = 20, settle_ms = 20 }}
sink = [{{ kind = "webhook", url = "{hook}" }}]
"""
    return Agent(folder, config)


@pytest.mark.parametrize("status", [400, 413, 415, 422, 500])
def test_a_record_that_a_sink_rejects_for_good_does_not_block_the_others(
    service: str, tmp_path: Path, status: int
) -> None:
    with Hook(lambda part_id: status if part_id == "p1" else 204) as hook:
        agent = agent_with_webhook(tmp_path, service, hook.url)
        with agent.start():
            wait_until(lambda: hook.accepted == ["p0", "p2", "p3"], "the others", 30)
            wait_until(lambda: agent.errors() == {"hooked": {}}, "no errors")
            assert agent.metric("records_rejected_total", station="hooked", sink=f"webhook:{hook.url}") == 1
            page = httpx.get(f"http://127.0.0.1:{agent.port}/").text
            assert f"returned {status}: about the record" in page
    assert hook.requests.count("p1") == (3 if status == 500 else 1)


@pytest.mark.parametrize("status", [404, 500])
def test_a_sink_that_rejects_everything_counts_as_unavailable(service: str, tmp_path: Path, status: int) -> None:
    with Hook(lambda _: status) as hook:
        agent = agent_with_webhook(tmp_path, service, hook.url)
        with agent.start():
            wait_until(lambda: len(hook.requests) > 5, "repeated requests", 30)
            assert f"returned {status}" in agent.errors()["hooked"][f"webhook:{hook.url}"]
            hook.status = lambda _: 204
            wait_until(lambda: hook.accepted == ["p0", "p1", "p2", "p3"], "everything, in order", 30)


def test_a_webhook_whose_response_never_ends_counts_as_unavailable_and_one_with_a_long_one_as_reached(
    service: str, tmp_path: Path
) -> None:
    endless = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while not endless.wait(0.2):
                    self.wfile.write(b".")
                for _ in range(1 << 10):
                    self.wfile.write(bytes(1 << 20))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/parts"
        agent = agent_with_webhook(tmp_path, service, url)
        with agent.start():
            wait_until(
                lambda: "no whole response" in agent.errors()["hooked"].get(f"webhook:{url}", ""), "the error", 30
            )
            endless.set()
            wait_until(lambda: agent.metric("records_delivered_total", station="hooked") == 4, "every record", 30)
        server.shutdown()
        thread.join()


def test_service_and_webhook_on_loopback_are_reached_without_a_proxy(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with Hook(lambda _: 204) as hook, agent_with_webhook(tmp_path, service, hook.url).start():
        wait_until(lambda: hook.accepted == ["p0", "p1", "p2", "p3"], "every record", 30)


def test_an_http_trigger_gets_a_decision_whatever_it_sends_and_its_part_id_is_sanitized(
    service: str, tmp_path: Path
) -> None:
    results = tmp_path / "results.csv"
    config = f"""
[service]
url = "{service}"
[[station]]
name = "blind"
source = {{ kind = "camera", url = "rtsp://127.0.0.1:{free_port()}/nothing", frame_timeout_ms = 50 }}
trigger = {{ kind = "http" }}
sink = [{{ kind = "csv", path = "{results}" }}]
"""
    agent = Agent(tmp_path, config)
    with agent.start():
        url = f"http://127.0.0.1:{agent.port}/stations/blind/trigger"
        for sent, stored in (
            ("a%00b%0Ac", "a\ufffdb\ufffdc"),
            ("%FF", "\ufffd"),
            ("o%CC%88", "ö"),
            ("x" * 500, "x" * 128),
            ("12E4711", "12E4711"),
        ):
            response = httpx.post(f"{url}?part_id={sent}", content=bytes(4 << 20), timeout=30).json()
            assert response["part_id"] == stored
        assert httpx.post(f"{url}?partid=5").status_code == 422
        assert httpx.head(f"http://127.0.0.1:{agent.port}/healthz").status_code == 200
        wait_until(lambda: results.exists() and len(results.read_text().splitlines()) == 6, "the records")


def test_a_decision_for_a_caller_that_disconnected_counts_as_not_sent(service: str, tmp_path: Path) -> None:
    results = tmp_path / "results.csv"
    config = f"""
[service]
url = "{service}"
[[station]]
name = "blind"
source = {{ kind = "camera", url = "rtsp://127.0.0.1:{free_port()}/nothing", frame_timeout_ms = 600 }}
trigger = {{ kind = "http" }}
sink = [{{ kind = "csv", path = "{results}" }}]
"""
    agent = Agent(tmp_path, config)
    with agent.start():
        with socket.create_connection(("127.0.0.1", agent.port)) as caller:
            caller.sendall(b"POST /stations/blind/trigger?part_id=gone HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(0.1)
        wait_until(lambda: agent.metric("decisions_not_sent_total", sink="http") == 1, "the metric")
        wait_until(
            lambda: "http: the caller disconnected" in httpx.get(f"http://127.0.0.1:{agent.port}/").text, "on the page"
        )


def test_a_plc_that_drops_connections_at_once_does_not_end_the_heartbeat() -> None:
    accepted = 0

    async def drop(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        writer.transport.abort()

    async def run() -> None:
        async with await asyncio.start_server(drop, "127.0.0.1", 0) as plc:
            port = plc.sockets[0].getsockname()[1]
            gate = ModbusGate(
                ModbusSink(kind="modbus", host="127.0.0.1", port=port, reject_coil=1, heartbeat_register=2)
            )
            for _ in range(5):
                with pytest.raises(SinkFailed):
                    await gate.send(Part(1, "key", "a", "1", "x.png", 0.0), GateDecision("reject", "verdict", 1.0))
            before = accepted
            async with asyncio.timeout(30):
                while accepted < before + 3:  # the heartbeat's own attempts
                    await asyncio.sleep(0.05)
            await gate.close()

    asyncio.run(run())
