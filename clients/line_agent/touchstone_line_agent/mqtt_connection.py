"""A connection to an MQTT broker that reconnects in the background."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

_MAX_RECONNECT_DELAY_S = 5
_KEEP_ALIVE_S = 5
_UNCONFIRMED = "has not confirmed the subscription yet"
_POLL_INTERVAL_S = 0.005  # while a message is being confirmed


class BrokerUnreachable(Exception):
    """There is no connection to the broker, or it did not confirm in time."""


class MqttConnection:
    """Connects in the background, and again whenever the connection is lost.

    topic: subscribed to, if set. on_message: called with each payload, on the connection's thread. Messages sent while
    the agent is not connected are not queued: a part that has passed the camera can no longer be captured.
    """

    def __init__(
        self, host: str, port: int, topic: str | None = None, on_message: Callable[[bytes], None] | None = None
    ) -> None:
        self._address = f"{host}:{port}"
        self._unconfirmed: dict[tuple[str, str], mqtt.MQTTMessageInfo] = {}
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, clean_session=True)
        self._client.reconnect_delay_set(1, _MAX_RECONNECT_DELAY_S)
        self._unsubscribed = "" if topic is None else _UNCONFIRMED

        def connected(client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if not reason.is_failure and topic is not None:
                self._unsubscribed = _UNCONFIRMED
                client.subscribe(topic, qos=1)

        def received(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
            if on_message is not None and not message.retain:  # a retained message was for an earlier part
                on_message(bytes(message.payload))

        def subscribed(_client: mqtt.Client, _data: Any, _id: int, reasons: Sequence[Any], _properties: Any) -> None:
            refused = any(reason.is_failure for reason in reasons)
            self._unsubscribed = f"refuses the subscription to {topic}" if refused else ""

        self._client.on_connect = connected
        self._client.on_subscribe = subscribed
        self._client.on_message = received
        with contextlib.suppress(OSError):  # the background thread retries
            self._client.connect_async(host, port, keepalive=_KEEP_ALIVE_S)
        self._client.loop_start()

    @property
    def error(self) -> str:
        """Why no message can be sent or received now; empty otherwise."""
        if not self.connected:
            return f"no connection to the MQTT broker at {self._address}"
        return f"the MQTT broker at {self._address} {self._unsubscribed}" if self._unsubscribed else ""

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._client.is_connected()

    async def wait_until_connected(self, timeout: float) -> None:
        """Return once there is a connection. BrokerUnreachable after `timeout` seconds."""
        if not await _becomes_true(lambda: self.connected, timeout):
            raise BrokerUnreachable(self.error)

    async def publish(self, topic: str, payload: str, *, qos: Literal[1, 2], timeout: float) -> None:
        """Send a message and wait for the broker's confirmation. BrokerUnreachable.

        The connection still sends an unconfirmed message after it reconnects: publishing the same message again waits
        for the confirmation of that one.
        """
        message = self._unconfirmed.get((topic, payload))
        if message is None:
            if not self.connected:
                raise BrokerUnreachable(self.error)
            message = self._unconfirmed[topic, payload] = self._client.publish(topic, payload, qos=qos)
        try:
            confirmed = await _becomes_true(message.is_published, timeout)
        except (RuntimeError, ValueError) as error:  # the connection was lost before the message was sent
            self._unconfirmed.pop((topic, payload), None)
            raise BrokerUnreachable(f"the MQTT broker at {self._address} was not reached: {error}") from error
        if not confirmed:
            raise BrokerUnreachable(f"the MQTT broker at {self._address} did not confirm within {timeout:g} s")
        self._unconfirmed.pop((topic, payload), None)

    async def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)


async def _becomes_true(condition: Callable[[], bool], timeout: float) -> bool:
    """Whether a condition that the connection's thread sets becomes true in time."""
    end = asyncio.get_running_loop().time() + timeout
    while not condition():
        if asyncio.get_running_loop().time() > end:
            return False
        await asyncio.sleep(_POLL_INTERVAL_S)
    return True
