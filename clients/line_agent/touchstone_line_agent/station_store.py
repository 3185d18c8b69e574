"""One station's access to the part store from the event loop."""

from __future__ import annotations

import asyncio
import sqlite3
from asyncio import to_thread
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.part_store import PartStore

P = ParamSpec("P")
T = TypeVar("T")

_WRITE_RETRY_S = 1.0
_POLL_INTERVAL_S = 0.5  # when no change is announced


class StationStore:
    """Retries writes while the disk fails, and wakes tasks that wait for a change.

    report: receives errors by name, and an empty text when they are over.
    """

    def __init__(self, station: str, parts: PartStore, metrics: Metrics, report: Callable[[str, str], None]) -> None:
        self.parts = parts
        self._station = station
        self._metrics = metrics
        self._report = report
        self._changed = asyncio.Condition()

    async def write(self, write: Callable[P, T], *values: P.args, **named: P.kwargs) -> T:
        """Call a writing method of the store, and retry for as long as the disk fails."""
        while True:
            try:
                return await to_thread(write, *values, **named)
            except sqlite3.OperationalError as error:
                self._report("store", f"the store cannot be written: {error}; retrying")
                await asyncio.sleep(_WRITE_RETRY_S)
                self._report("store", "")

    async def announce_change(self) -> None:
        """Wake the tasks that wait for a change."""
        self._metrics.pending.labels(self._station).set(await to_thread(self.parts.pending_count, self._station))
        async with self._changed:
            self._changed.notify_all()

    async def wait_for_change(self) -> None:
        """Return when a change is announced, or after half a second."""
        try:
            async with asyncio.timeout(_POLL_INTERVAL_S), self._changed:
                await self._changed.wait()
        except TimeoutError:
            pass
