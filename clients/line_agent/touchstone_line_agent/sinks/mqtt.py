"""Publishes decisions and records as MQTT messages."""

from __future__ import annotations

import asyncio
import json

from touchstone_line_agent.config import MqttSink
from touchstone_line_agent.mqtt_connection import BrokerUnreachable, MqttConnection
from touchstone_line_agent.part import GateDecision, Part, Record
from touchstone_line_agent.payloads import decision_payload, record_payload
from touchstone_line_agent.sinks.base import SinkFailed

_CONFIRM_RECORD_S = 10.0
_CONFIRM_DECISION_S = 0.5


class MqttDecisions:
    """Publishes each decision with QoS 1; one that the broker does not confirm counts as not sent.

    A connection with an unconfirmed decision is replaced: after a reconnect it would send the decision again, too late.
    """

    def __init__(self, config: MqttSink, topic: str) -> None:
        self._config = config
        self._connection = MqttConnection(config.host, config.port)
        self._topic = topic
        self._closing: set[asyncio.Task[None]] = set()
        self.name = f"mqtt:{config.host}:{config.port}/{topic}"

    async def connect(self) -> None:
        """Check the connection, which reconnects in the background. SinkFailed."""
        if not self._connection.connected:
            raise SinkFailed(self._connection.error)

    async def send(self, part: Part, decision: GateDecision) -> None:
        """Publish a decision. SinkFailed."""
        payload = json.dumps(decision_payload(part, decision))
        try:
            await self._connection.wait_until_connected(_CONFIRM_DECISION_S)
            await self._connection.publish(self._topic, payload, qos=1, timeout=_CONFIRM_DECISION_S)
        except BaseException as error:
            self._replace_connection()
            if isinstance(error, BrokerUnreachable):
                raise SinkFailed(str(error)) from error
            raise

    async def set_safe(self, decision: GateDecision) -> None:
        """Check the connection: messages have no state to set. SinkFailed."""
        await self.connect()

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()
        if self._closing:
            await asyncio.wait(self._closing)

    def _replace_connection(self) -> None:
        task = asyncio.create_task(self._connection.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        self._connection = MqttConnection(self._config.host, self._config.port)


class MqttRecords:
    """Publishes each record with QoS 2, until the broker confirms it."""

    def __init__(self, config: MqttSink, topic: str) -> None:
        self._connection = MqttConnection(config.host, config.port)
        self._topic = topic
        self.name = f"mqtt:{config.host}:{config.port}/{topic}"

    async def deliver(self, record: Record, image: bytes | None) -> None:
        """Publish a record. SinkFailed."""
        payload = json.dumps(record_payload(record))
        try:
            await self._connection.publish(self._topic, payload, qos=2, timeout=_CONFIRM_RECORD_S)
        except BrokerUnreachable as error:
            raise SinkFailed(str(error)) from error

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()
