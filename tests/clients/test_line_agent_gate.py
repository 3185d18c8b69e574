"""Decisions reach every gate though connections are lost, in time; what could not be sent is said everywhere."""

from __future__ import annotations

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

from tests.clients.plant.gateway import Gateway
from tests.clients.plant.machines import Agent, Listener, free_port, machine, mosquitto, wait_until
from tests.service.pictures import part

GATES = ("modbus", "opcua", "mqtt")


@dataclass
class Plant:
    """Machines, and what each was told."""

    folder: Path
    ports: dict[str, int]
    listener: Listener

    def told(self) -> dict[str, list[str]]:
        """By gate, what tells its parts apart: the coil and number of each, the part's id, or the part's key."""
        modbus = [line.split() for line in (self.folder / "modbus_server.log").read_text().splitlines()]
        opcua = [line.split() for line in (self.folder / "opcua_server.log").read_text().splitlines()]
        return {
            "modbus": [words[2] for words in modbus if words[:2] == ["register", "9"]],
            "opcua": [words[1] for words in opcua if words[0] == "Part" and len(words) == 2],
            "mqtt": [str(each["part_id"]) for each in self.listener.of("gate/decision")],
        }


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("plant")
    ports = {name: free_port() for name in GATES}
    with contextlib.ExitStack() as machines:
        machines.enter_context(mosquitto(folder, ports["mqtt"]))
        machines.enter_context(machine("modbus_server", folder, ports["modbus"]))
        machines.enter_context(machine("opcua_server", folder, ports["opcua"]))
        listener = Listener(ports["mqtt"], "gate/#")
        yield Plant(folder, ports, listener)
        listener.close()


class Line:
    """An agent with a folder of parts and every kind of gate and record."""

    def __init__(self, folder: Path, service: str, ports: dict[str, int], *, deadline_ms: int = 3000) -> None:
        self.incoming, self.results = folder / "incoming", folder / "results.csv"
        self.incoming.mkdir()
        self.agent = Agent(folder, f"""
[service]
url = "{service}"
[[station]]
name = "gate"
category = "disc"
deadline_ms = {deadline_ms}
source = {{ kind = "folder", path = "{self.incoming}", every_ms = 10, settle_ms = 10 }}
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
""")  # fmt: skip

    def drop(self, name: str) -> None:
        """A part appears."""
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
    "it hangs up on what is sent": {"hang_up": 1},
    "it resets what is sent": {"hang_up": 1, "reset": True},
    "nothing arrives, and nobody says so": {},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lost_connection_costs_no_gate_a_decision(service: str, plant: Plant, tmp_path: Path, fault: str) -> None:
    before = plant.told()
    with contextlib.ExitStack() as gateways:
        through = {name: gateways.enter_context(Gateway(plant.ports[name])) for name in GATES}
        line = Line(tmp_path, service, {name: each.port for name, each in through.items()})
        with line.agent.start():
            wait_until(lambda: line.agent.trouble() == {"gate": {}}, "all is well")
            for name, value in FAULTS[fault].items():
                for each in through.values():
                    setattr(each, name, value)
            for number in range(4):
                time.sleep(0.7)  # idle for longer than the gateways allow
                for each in through.values():
                    if not FAULTS[fault]:
                        each.go_silent()
                    elif "hang_up" in FAULTS[fault]:
                        each.hang_up = 1
                line.drop(f"p{number}")
                line.wait_for(number + 1)
            records = line.records()
            assert line.agent.metric("decisions_not_sent_total") == 0
            ours = [each["key"] for each in records]
            wait_until(lambda: set(ours) <= {each["key"] for each in plant.listener.of("gate/record")}, "by MQTT", 30)
    assert [(each["because"], each["not_sent"]) for each in records] == [("verdict", "")] * 4
    expected = {"modbus": "sequence", "opcua": "key", "mqtt": "part_id"}
    for name, told in plant.told().items():
        new = [key for key, _ in itertools.groupby(told[len(before[name]) :])]  # told twice is told
        assert new == [each[expected[name]] for each in records], name


def test_what_cannot_be_sent_is_said_in_every_record_on_the_page_and_in_the_metrics(
    service: str, plant: Plant, tmp_path: Path
) -> None:
    nobody = {name: free_port() for name in GATES}
    line = Line(tmp_path, service, {**nobody, "mqtt": plant.ports["mqtt"]}, deadline_ms=1000)
    heard = len(plant.listener.of("gate/record"))
    with line.agent.start():
        line.drop("p0")
        [record] = line.wait_for(1)
        assert (record["because"], record["outcome"]) == ("verdict", "inspected")
        assert f"modbus:127.0.0.1:{nobody['modbus']}/8: " in record["not_sent"]
        assert f"opcua:opc.tcp://127.0.0.1:{nobody['opcua']}/ns=2;s=Reject: " in record["not_sent"]
        assert "mqtt" not in record["not_sent"]
        wait_until(lambda: len(plant.listener.of("gate/record")) > heard, "the record by MQTT")
        told = plant.listener.of("gate/record")[-1]["not_sent"]
        assert isinstance(told, dict)
        assert len(told) == 2
        page = httpx.get(f"http://127.0.0.1:{line.agent.port}/").text
        assert page.count("no connection") >= 2, "the gate, and the part"
        for name in ("modbus", "opcua"):
            sinks = [each for each in told if each.startswith(name)]
            assert line.agent.metric("decisions_not_sent_total", station="gate", sink=sinks[0]) == 1
        assert line.agent.metric("decisions_not_sent_total") == 2
        assert sorted(each.partition(":")[0] for each in line.agent.trouble()["gate"]) == ["modbus", "opcua"]
        # A gate that comes back is told the next part.
        with machine("modbus_server", tmp_path, nobody["modbus"]):
            wait_until(lambda: len(line.agent.trouble()["gate"]) == 1, "the agent sees it")
            line.drop("p1")
            records = line.wait_for(2)
            assert "modbus" not in records[1]["not_sent"]
            assert "opcua" in records[1]["not_sent"]


def test_a_gate_that_is_away_keeps_no_other_and_no_part_waiting(service: str, plant: Plant, tmp_path: Path) -> None:
    before = plant.told()
    with Gateway(plant.ports["opcua"]) as silent:
        line = Line(tmp_path, service, {**plant.ports, "modbus": free_port(), "opcua": silent.port}, deadline_ms=2000)
        with line.agent.start():
            wait_until(lambda: len(line.agent.trouble()["gate"]) == 1, "only one gate is away")
            with silent.stalled():  # a server that takes connections and answers nothing
                for number in range(6):
                    line.drop(f"p{number}")
                wait_until(lambda: len(plant.told()["mqtt"]) == len(before["mqtt"]) + 6, "the gate that is there", 20)
                records = line.wait_for(6)
    assert {each["because"] for each in records} == {"verdict"}
    assert max(float(each["after_ms"]) for each in records) < 2000
    assert all("modbus" in each["not_sent"] and "opcua" in each["not_sent"] for each in records)
    assert not any("mqtt" in each["not_sent"] for each in records)
    assert plant.told()["mqtt"][len(before["mqtt"]) :] == [f"p{number}" for number in range(6)]


def test_a_gate_that_comes_back_within_the_deadline_is_told(service: str, plant: Plant, tmp_path: Path) -> None:
    port = free_port()
    line = Line(tmp_path, service, {**plant.ports, "modbus": port}, deadline_ms=20_000)
    with line.agent.start():
        wait_until(lambda: "not reached yet" not in line.agent.trouble()["gate"].values(), "it has looked")
        line.drop("p0")
        wait_until(lambda: line.agent.metric("decision_seconds_count") == 1, "it is decided on")
        assert line.records() == []
        with machine("modbus_server", tmp_path, port):
            [record] = line.wait_for(1)
            assert (record["because"], record["not_sent"]) == ("verdict", "")
            assert f"register 9 {record['sequence']}" in (tmp_path / "modbus_server.log").read_text()


def test_connections_are_looked_after_between_parts(service: str, plant: Plant, tmp_path: Path) -> None:
    with contextlib.ExitStack() as gateways:
        through = {name: gateways.enter_context(Gateway(plant.ports[name])) for name in GATES}
        line = Line(tmp_path, service, {name: each.port for name, each in through.items()})
        with line.agent.start():
            wait_until(lambda: line.agent.trouble() == {"gate": {}}, "all is well")
            gateways.close()
            wait_until(lambda: len(line.agent.trouble()["gate"]) == 3, "gates are missed before a part needs them", 20)
            assert httpx.get(f"http://127.0.0.1:{line.agent.port}/readyz").status_code == 503


class Hook(contextlib.AbstractContextManager["Hook"]):
    """A webhook that answers as told, by part id, and keeps what it took."""

    def __init__(self, answer: Callable[[str], int]) -> None:
        self.took: list[str] = []
        self.asked: list[str] = []
        self.answer = answer
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                part_id = json.loads(self.rfile.read(int(self.headers["content-length"])))["part_id"]
                status = hook.answer(part_id)
                hook.asked.append(part_id)
                if status < 300:
                    hook.took.append(part_id)
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


def hooked(folder: Path, service: str, hook: str) -> Agent:
    (folder / "incoming").mkdir()
    for number in range(4):
        (folder / "incoming" / f"p{number}.png").write_bytes(part(number))
    return Agent(folder, f"""
[service]
url = "{service}"
[[station]]
name = "hooked"
category = "disc"
deadline_ms = 20000
source = {{ kind = "folder", path = "{folder}/incoming", every_ms = 20, settle_ms = 20 }}
sink = [{{ kind = "webhook", url = "{hook}" }}]
""")  # fmt: skip


@pytest.mark.parametrize("status", [400, 413, 415, 422, 500])
def test_a_record_that_a_sink_refuses_for_good_does_not_hold_the_others(
    service: str, tmp_path: Path, status: int
) -> None:
    with Hook(lambda part_id: status if part_id == "p1" else 204) as hook:
        agent = hooked(tmp_path, service, hook.url)
        with agent.start():
            wait_until(lambda: hook.took == ["p0", "p2", "p3"], "the others", 30)
            wait_until(lambda: agent.trouble() == {"hooked": {}}, "all is well")
            assert agent.metric("records_not_sent_total", station="hooked", sink=f"webhook:{hook.url}") == 1
            page = httpx.get(f"http://127.0.0.1:{agent.port}/").text
            assert f"answered {status}: about the record" in page
    assert hook.asked.count("p1") == (3 if status == 500 else 1)


@pytest.mark.parametrize("status", [404, 500])
def test_a_sink_that_refuses_everything_counts_as_away(service: str, tmp_path: Path, status: int) -> None:
    with Hook(lambda _: status) as hook:
        agent = hooked(tmp_path, service, hook.url)
        with agent.start():
            wait_until(lambda: len(hook.asked) > 5, "it was asked often", 30)
            assert f"answered {status}" in agent.trouble()["hooked"][f"webhook:{hook.url}"]
            hook.answer = lambda _: 204
            wait_until(lambda: hook.took == ["p0", "p1", "p2", "p3"], "everything, in order", 30)


def test_service_and_webhook_on_this_machine_are_asked_without_a_proxy(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with Hook(lambda _: 204) as hook, hooked(tmp_path, service, hook.url).start():
        wait_until(lambda: hook.took == ["p0", "p1", "p2", "p3"], "every record", 30)


def test_a_trigger_over_http_is_answered_whatever_it_sends_and_its_parts_id_is_made_fit(
    service: str, tmp_path: Path
) -> None:
    results = tmp_path / "results.csv"
    agent = Agent(tmp_path, f"""
[service]
url = "{service}"
[[station]]
name = "blind"
source = {{ kind = "camera", url = "rtsp://127.0.0.1:{free_port()}/nothing", frame_timeout_ms = 50 }}
trigger = {{ kind = "http" }}
sink = [{{ kind = "csv", path = "{results}" }}]
""")  # fmt: skip
    with agent.start():
        url = f"http://127.0.0.1:{agent.port}/stations/blind/trigger"
        for sent, stored in (
            ("a%00b%0Ac", "a\ufffdb\ufffdc"),
            ("%FF", "\ufffd"),
            ("o%CC%88", "ö"),
            ("x" * 500, "x" * 128),
            ("12E4711", "12E4711"),
        ):
            told = httpx.post(f"{url}?part_id={sent}", content=bytes(4 << 20), timeout=30).json()
            assert told["part_id"] == stored
        assert httpx.post(f"{url}?partid=5").status_code == 422
        assert httpx.head(f"http://127.0.0.1:{agent.port}/healthz").status_code == 200
        wait_until(lambda: results.exists() and len(results.read_text().splitlines()) == 6, "the records")


def test_a_caller_who_has_gone_was_not_told(service: str, tmp_path: Path) -> None:
    results = tmp_path / "results.csv"
    agent = Agent(tmp_path, f"""
[service]
url = "{service}"
[[station]]
name = "blind"
source = {{ kind = "camera", url = "rtsp://127.0.0.1:{free_port()}/nothing", frame_timeout_ms = 600 }}
trigger = {{ kind = "http" }}
sink = [{{ kind = "csv", path = "{results}" }}]
""")  # fmt: skip
    with agent.start():
        with socket.create_connection(("127.0.0.1", agent.port)) as caller:
            caller.sendall(b"POST /stations/blind/trigger?part_id=gone HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(0.1)
        wait_until(lambda: agent.metric("decisions_not_sent_total", sink="http") == 1, "it is said")
        wait_until(lambda: "http: the caller has gone" in httpx.get(f"http://127.0.0.1:{agent.port}/").text, "shown")
