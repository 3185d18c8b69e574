"""What an MQTT broker says of a subscription is reported."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.clients.helpers.machines import wait_until
from touchstone_line_agent.mqtt_connection import MqttConnection

_CONNACK, _SUBACK = b"\x20\x02\x00\x00", b"\x90\x03"  # MQTT 3.1.1, 3.2 and 3.9
_GRANTED, _FAILURE = b"\x01", b"\x80"


@contextlib.contextmanager
def broker(answer: bytes | None) -> Iterator[int]:
    """One that accepts every connection, and answers a subscription so, or not at all; its port."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1024)
                    connection.sendall(_CONNACK)
                    subscription = connection.recv(1024)
                    if answer is not None:
                        connection.sendall(_SUBACK + subscription[2:4] + answer)
                    while connection.recv(1024):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (_GRANTED, ""),
        (_FAILURE, "the MQTT broker at {} refuses the subscription to line/trigger"),
        (None, "the MQTT broker at {} has not confirmed the subscription yet"),
    ],
)
def test_an_error_says_whether_triggers_can_arrive(answer: bytes | None, error: str) -> None:
    with broker(answer) as port:
        connection = MqttConnection("127.0.0.1", port, "line/trigger", lambda _: None)
        wait_until(lambda: connection.connected, "a connection")
        wait_until(lambda: connection.error == error.format(f"127.0.0.1:{port}"), f"{error!r}, not another", 10)
        asyncio.run(connection.close())
