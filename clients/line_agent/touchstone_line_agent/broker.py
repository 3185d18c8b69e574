"""One connection to an MQTT broker that comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Literal

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

_LONGEST_PAUSE_S = 5
_KEEP_ALIVE_S = 5
_LOOK_S = 0.005  # while a message is on its way


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
            self._client.connect_async(host, port, keepalive=_KEEP_ALIVE_S)
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

    async def reach(self, within: float) -> None:
        """Wait until there is a connection. BrokerAway."""
        if not await _soon(lambda: self.connected, within):
            raise BrokerAway(self.trouble)

    async def publish(self, topic: str, payload: str, *, qos: Literal[1, 2], within: float) -> None:
        """Send a message and wait until the broker has confirmed it. BrokerAway.

        A message that was not confirmed in time is still sent by the connection when it comes back: publishing the same
        again waits for that one.
        """
        sent = self._unconfirmed.get((topic, payload))
        if sent is None:
            if not self.connected:
                raise BrokerAway(self.trouble)
            sent = self._unconfirmed[topic, payload] = self._client.publish(topic, payload, qos=qos)
        try:
            confirmed = await _soon(sent.is_published, within)
        except (RuntimeError, ValueError) as error:  # the connection went before it was on its way
            self._unconfirmed.pop((topic, payload), None)
            raise BrokerAway(f"the MQTT broker at {self._where} was not reached: {error}") from error
        if not confirmed:
            raise BrokerAway(f"the MQTT broker at {self._where} did not confirm within {within:g} s")
        self._unconfirmed.pop((topic, payload), None)

    async def close(self) -> None:
        """Say goodbye."""
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)


async def _soon(condition: Callable[[], bool], within: float) -> bool:
    """Whether a condition of the connection's own thread comes true in time."""
    end = asyncio.get_running_loop().time() + within
    while not condition():
        if asyncio.get_running_loop().time() > end:
            return False
        await asyncio.sleep(_LOOK_S)
    return True
