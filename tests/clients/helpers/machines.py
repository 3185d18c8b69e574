"""The machines around a line agent, and the agent itself, as processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.helpers.forked import ForkedProcess
from touchstone_line_agent.cli import main

Process = TypeVar("Process", subprocess.Popen[bytes], ForkedProcess)
HERE = Path(__file__).parent
START_SECONDS = 30


def free_port() -> int:
    """A port that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], description: str, seconds: float = 60) -> None:
    """Return once a condition is true; AssertionError after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {description}"
        time.sleep(0.05)


@contextlib.contextmanager
def running(command: list[str], log: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens on a port, killed at the end; its output goes to a file."""
    with log.open("ab") as out:
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        started = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        with listening(started, log, port) as process:
            yield process


@contextlib.contextmanager
def listening(process: Process, log: Path, port: int) -> Iterator[Process]:
    """A process once it listens on a port, killed at the end. log: where its output goes."""

    def listens() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens, f"what writes {log.name} listens", START_SECONDS)
        yield process
    finally:
        process.kill()
        process.wait()


def mosquitto(folder: Path, port: int) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """A real Mosquitto broker."""
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert program, "Mosquitto is not installed: apt-get install mosquitto (`make test` does it where permitted)"
    settings = folder / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    return running([program, "-c", str(settings)], folder / "mosquitto.log", port)


def machine(name: str, folder: Path, port: int) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """One of this folder's servers, by module name."""
    return running([sys.executable, str(HERE / f"{name}.py"), str(port)], folder / f"{name}.log", port)


class Agent:
    """A line agent with a configuration."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.file = folder / "line.toml"
        head = f'[queue]\npath = "{folder}/parts.sqlite"\n[health]\nport = {self.port}\n'
        self.file.write_text(head + text)
        self.log = folder / "agent.log"

    def start(self) -> contextlib.AbstractContextManager[ForkedProcess]:
        """Run it until the end of the block."""
        process = ForkedProcess(_run_agent, str(self.file), environment=os.environ, output=self.log)
        return listening(process, self.log, self.port)

    def errors(self) -> dict[str, dict[str, str]]:
        """Present errors, by station."""
        stations: dict[str, dict[str, str]] = httpx.get(f"http://127.0.0.1:{self.port}/healthz").json()["stations"]
        return stations

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value, summed over the labels that are not specified."""
        total = 0.0
        for line in httpx.get(f"http://127.0.0.1:{self.port}/metrics").text.splitlines():
            if line.startswith(f"touchstone_line_agent_{name}{{") and all(
                f'{label}="{value}"' in line for label, value in labels.items()
            ):
                total += float(line.rpartition(" ")[2])
        return total


def _run_agent(file: str) -> None:
    raise SystemExit(main(["run", file]))


class MqttListener:
    """Receives every message under a topic, except triggers."""

    def __init__(self, port: int, topic: str) -> None:
        self.received: list[tuple[str, dict[str, object]]] = []
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        subscribed: list[bool] = []
        self.client.on_message = self._receive
        self.client.on_subscribe = lambda *_: subscribed.append(True)
        self.client.connect("127.0.0.1", port)
        self.client.subscribe(topic, qos=2)
        self.client.loop_start()
        wait_until(lambda: subscribed, "subscribed")

    def _receive(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if not message.topic.endswith("/trigger"):
            self.received.append((message.topic, json.loads(message.payload)))

    def messages(self, topic: str) -> list[dict[str, object]]:
        """The messages of one topic, in order."""
        return [payload for name, payload in list(self.received) if name == topic]

    def close(self) -> None:
        """Stop listening."""
        self.client.disconnect()
        self.client.loop_stop()
