"""One connection to an MQTT broker that comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

_LONGEST_PAUSE_S = 5


class BrokerAway(Exception):
    """There is no connection to the broker, or it did not confirm in time."""


class Broker:
    """Connects in the background, and again whenever the connection is lost.

    topic: to listen to, if any; heard: called with each payload, on the connection's own thread. A message sent while
    nobody listens is not kept for later: a part that has gone by cannot be pictured any more.
    """

    def __init__(
        self, host: str, port: int, topic: str | None = None, heard: Callable[[bytes], None] | None = None
    ) -> None:
        self._where = f"{host}:{port}"
        self._unconfirmed: dict[tuple[str, str], mqtt.MQTTMessageInfo] = {}
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, clean_session=True)
        self._client.reconnect_delay_set(1, _LONGEST_PAUSE_S)

        self._listening = topic is None

        def connected(client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if not reason.is_failure and topic is not None:
                client.subscribe(topic, qos=1)

        def received(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
            if heard is not None and not message.retain:  # a retained one was meant for a part of long ago
                heard(bytes(message.payload))

        def subscribed(*_: Any) -> None:
            self._listening = True

        self._client.on_connect = connected
        self._client.on_subscribe = subscribed
        self._client.on_message = received
        with contextlib.suppress(OSError):  # the background thread tries again
            self._client.connect_async(host, port, keepalive=30)
        self._client.loop_start()

    @property
    def trouble(self) -> str:
        """Why nothing is sent or heard now; empty when all is well."""
        if not self.connected:
            return f"no connection to the MQTT broker at {self._where}"
        return "" if self._listening else f"the MQTT broker at {self._where} has not confirmed the subscription yet"

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._client.is_connected()

    async def publish(self, topic: str, payload: str, *, qos: int, within: float) -> None:
        """Send a message and wait until the broker has confirmed it (with QoS 0: until it is on its way). BrokerAway.

        A message with QoS 1 or 2 that was not confirmed in time is still sent by the connection when it comes back:
        publishing the same again waits for that one.
        """
        sent = self._unconfirmed.get((topic, payload))
        if sent is None:
            if not self.connected:
                raise BrokerAway(self.trouble)
            sent = self._client.publish(topic, payload, qos=qos)
            if qos:
                self._unconfirmed[topic, payload] = sent

        def confirmed() -> bool:
            with contextlib.suppress(RuntimeError, ValueError):
                sent.wait_for_publish(within)
            return sent.is_published()

        if not await asyncio.to_thread(confirmed):
            raise BrokerAway(f"the MQTT broker at {self._where} did not confirm within {within:g} s")
        self._unconfirmed.pop((topic, payload), None)

    async def close(self) -> None:
        """Say goodbye."""
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)
