"""Decisions and records as MQTT messages."""

from __future__ import annotations

import json

from touchstone_line_agent import payloads
from touchstone_line_agent.broker import Broker, BrokerAway
from touchstone_line_agent.config import MqttSink
from touchstone_line_agent.parts import Decided, Part, Record
from touchstone_line_agent.sinks import SinkFailed

_CONFIRM_S = 10.0


class MqttDecisions:
    """Publishes each decision with QoS 0, only if there is a connection at that moment: none is ever sent late."""

    def __init__(self, config: MqttSink, topic: str) -> None:
        self._broker = Broker(config.host, config.port)
        self._topic = topic
        self.name = f"mqtt:{config.host}:{config.port}/{topic}"

    async def signal(self, part: Part, decided: Decided) -> None:
        """Publish it. SinkFailed."""
        await _publish(self._broker, self._topic, json.dumps(payloads.decision(part, decided)), 0)

    async def rest(self, decided: Decided) -> None:
        """Messages have no state to rest in: only tells whether there is a connection. SinkFailed."""
        if not self._broker.connected:
            raise SinkFailed(self._broker.trouble)

    async def close(self) -> None:
        """Disconnect."""
        await self._broker.close()


class MqttRecords:
    """Publishes each record with QoS 2, until the broker has it."""

    def __init__(self, config: MqttSink, topic: str) -> None:
        self._broker = Broker(config.host, config.port)
        self._topic = topic
        self.name = f"mqtt:{config.host}:{config.port}/{topic}"

    async def deliver(self, record: Record, picture: bytes | None) -> None:
        """Publish it. SinkFailed."""
        await _publish(self._broker, self._topic, json.dumps(payloads.record(record)), 2)

    async def close(self) -> None:
        """Disconnect."""
        await self._broker.close()


async def _publish(broker: Broker, topic: str, payload: str, qos: int) -> None:
    try:
        await broker.publish(topic, payload, qos=qos, within=_CONFIRM_S)
    except BrokerAway as error:
        raise SinkFailed(str(error)) from error
