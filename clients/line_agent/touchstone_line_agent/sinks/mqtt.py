"""Decisions and records as MQTT messages."""

from __future__ import annotations

import asyncio
import json

from touchstone_line_agent import payloads
from touchstone_line_agent.broker import Broker, BrokerAway
from touchstone_line_agent.config import MqttSink
from touchstone_line_agent.parts import Decided, Part, Record
from touchstone_line_agent.sinks import SinkFailed

_CONFIRM_S = 10.0
_CONFIRM_DECISION_S = 0.5


class MqttDecisions:
    """Publishes each decision with QoS 1: the broker has confirmed it, or it counts as not sent.

    A connection over which one was not confirmed is given up: it would send it again when it comes back, too late.
    """

    def __init__(self, config: MqttSink, topic: str) -> None:
        self._config = config
        self._broker = Broker(config.host, config.port)
        self._topic = topic
        self._ending: set[asyncio.Task[None]] = set()
        self.name = f"mqtt:{config.host}:{config.port}/{topic}"

    async def connect(self) -> None:
        """The connection comes back by itself: only tells whether there is one. SinkFailed."""
        if not self._broker.connected:
            raise SinkFailed(self._broker.trouble)

    async def signal(self, part: Part, decided: Decided) -> None:
        """Publish it. SinkFailed."""
        payload = json.dumps(payloads.decision(part, decided))
        try:
            await self._broker.reach(_CONFIRM_DECISION_S)
            await self._broker.publish(self._topic, payload, qos=1, within=_CONFIRM_DECISION_S)
        except BaseException as error:
            self._begin_again()
            if isinstance(error, BrokerAway):
                raise SinkFailed(str(error)) from error
            raise

    async def rest(self, decided: Decided) -> None:
        """Messages have no state to rest in."""
        await self.connect()

    async def close(self) -> None:
        """Disconnect."""
        await self._broker.close()
        if self._ending:
            await asyncio.wait(self._ending)

    def _begin_again(self) -> None:
        task = asyncio.create_task(self._broker.close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        self._broker = Broker(self._config.host, self._config.port)


class MqttRecords:
    """Publishes each record with QoS 2, until the broker has it."""

    def __init__(self, config: MqttSink, topic: str) -> None:
        self._broker = Broker(config.host, config.port)
        self._topic = topic
        self.name = f"mqtt:{config.host}:{config.port}/{topic}"

    async def deliver(self, record: Record, picture: bytes | None) -> None:
        """Publish it. SinkFailed."""
        try:
            await self._broker.publish(self._topic, json.dumps(payloads.record(record)), qos=2, within=_CONFIRM_S)
        except BrokerAway as error:
            raise SinkFailed(str(error)) from error

    async def close(self) -> None:
        """Disconnect."""
        await self._broker.close()
