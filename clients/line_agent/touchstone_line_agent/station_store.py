"""One station's part of the store: writes wait for the disk, and whoever waits for something new is woken."""

from __future__ import annotations

import asyncio
import sqlite3
from asyncio import to_thread
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from touchstone_line_agent.metrics import Metrics
from touchstone_line_agent.parts import Parts

P = ParamSpec("P")
T = TypeVar("T")

_DISK_S = 1.0
_IDLE_S = 0.5  # between looks at the store when nothing was heard


class StationStore:
    """parts: the store itself. report: is told by name what does not work, and with an empty text that it does."""

    def __init__(self, station: str, parts: Parts, metrics: Metrics, report: Callable[[str, str], None]) -> None:
        self.parts = parts
        self._station = station
        self._metrics = metrics
        self._report = report
        self._news = asyncio.Condition()

    async def write(self, write: Callable[P, T], *values: P.args, **named: P.kwargs) -> T:
        """Call a method of the store that writes, again and again while the disk does not take it."""
        while True:
            try:
                return await to_thread(write, *values, **named)
            except sqlite3.OperationalError as error:
                self._report("store", f"the store cannot be written: {error}; trying again")
                await asyncio.sleep(_DISK_S)
                self._report("store", "")

    async def notify(self) -> None:
        """Wake whoever waits: something has changed."""
        self._metrics.left.labels(self._station).set(await to_thread(self.parts.left, self._station))
        async with self._news:
            self._news.notify_all()

    async def wait(self) -> None:
        """Return when something has changed, or after a moment."""
        try:
            async with asyncio.timeout(_IDLE_S), self._news:
                await self._news.wait()
        except TimeoutError:
            pass
