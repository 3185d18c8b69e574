"""Where decisions and records go.

A decision is told once, at once, and never late: a gate moved for a part that has gone by would take another. A record
is stored until its sink has it, however long that takes, and reaches each sink in the order in which parts were taken.
"""

from __future__ import annotations

from typing import Protocol

from touchstone_line_agent.parts import Decided, Part, Record


class SinkFailed(Exception):
    """A sink that did not take what it was given; the message says why in one line."""


class DecisionSink(Protocol):
    """Something that acts on decisions: a gate."""

    @property
    def name(self) -> str:
        """For logs and metrics."""

    async def signal(self, part: Part, decided: Decided) -> None:
        """Tell it. SinkFailed."""

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
