"""Interfaces of sinks.

A decision is sent at once and never late: a gate that moves after its part has passed would reject another one. A sink
may receive a decision more than once, when it is unknown whether it arrived. A record is stored until its sink has
received it, and reaches each sink in the order in which the parts were captured.
"""

from __future__ import annotations

from typing import Protocol

from touchstone_line_agent.part import GateDecision, Part, Record


class SinkFailed(Exception):
    """A sink did not accept a decision or a record; the message says why in one line."""


class RecordRejected(SinkFailed):
    """A sink will never accept this record."""


class RecordFailed(SinkFailed):
    """A sink is reachable and fails on a record: on this one only, perhaps, or on any."""


class DecisionSink(Protocol):
    """Acts on decisions: a gate."""

    @property
    def name(self) -> str:
        """For logs and metrics."""

    async def connect(self) -> None:
        """Check the connection, and reconnect if it is lost. SinkFailed."""

    async def send(self, part: Part, decision: GateDecision) -> None:
        """Send a decision, reconnecting if necessary. Idempotent. SinkFailed."""

    async def set_safe(self, decision: GateDecision) -> None:
        """Set the state for when there is no part. SinkFailed."""

    async def close(self) -> None:
        """Disconnect."""


class RecordSink(Protocol):
    """Stores records."""

    @property
    def name(self) -> str:
        """Identifies the sink in the store; the same after a restart."""

    async def deliver(self, record: Record, image: bytes | None) -> None:
        """Deliver one record durably. Idempotent. SinkFailed."""

    async def close(self) -> None:
        """Release its resources."""
