"""Where decisions and records go.

A decision is told at once and never late: a gate moved for a part that has gone by would take another. A sink may hear
it more than once, when it is not known whether it did. A record is stored until its sink has it, however long that
takes, and reaches each sink in the order in which parts were taken.
"""

from __future__ import annotations

from typing import Protocol

from touchstone_line_agent.parts import Decided, Part, Record


class SinkFailed(Exception):
    """A sink that did not take what it was given; the message says why in one line."""


class RecordRefused(SinkFailed):
    """A sink that will never take a record, however often it is given."""


class RecordFailed(SinkFailed):
    """A sink that is there and fails on a record: on this one only, perhaps, or on any."""


class DecisionSink(Protocol):
    """Something that acts on decisions: a gate."""

    @property
    def name(self) -> str:
        """For logs and metrics."""

    async def connect(self) -> None:
        """Notice whether the connection still stands, and make a new one if not. SinkFailed."""

    async def signal(self, part: Part, decided: Decided) -> None:
        """Tell it, over a new connection if the last one is gone; harmless if it was told already. SinkFailed."""

    async def rest(self, decided: Decided) -> None:
        """Bring it to the state that it should be in while there is no part. SinkFailed."""

    async def close(self) -> None:
        """Let go of the connection."""


class RecordSink(Protocol):
    """Something that keeps records."""

    @property
    def name(self) -> str:
        """Under which the store remembers what it has; the same after a restart."""

    async def deliver(self, record: Record, picture: bytes | None) -> None:
        """Hand over one record, durably; harmless if it has it already. SinkFailed."""

    async def close(self) -> None:
        """Let go of it."""
