"""Broadcasts new inspections: one task reads the history and sends them to all live streams."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from indexer.catalogue.inspections import Inspections
from indexer.domain.inspection import Inspection, InspectionFilter
from service.schemas.inspections import inspection_view

MAX_RECORDING_DELAY = timedelta(seconds=5)  # an inspection is recorded no later than this after its time, or not sent
_PAGE = 500
_MAX_PENDING_EVENTS = 1000  # that a subscriber may be behind; then it is cut off, and comes back for what it missed


class Subscriber:
    """One stream's events, as they wait for it. Used on the event loop's thread."""

    def __init__(self, filter: InspectionFilter, loop: asyncio.AbstractEventLoop) -> None:
        self.filter = filter
        self._loop = loop
        self._events: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue()
        self._behind = False

    def send(self, inspection_id: str, event: str) -> None:
        """Let an event wait for it. Safe on any thread."""
        self._on_loop((inspection_id, event))

    def end(self) -> None:
        """Let the stream end after what waits. Safe on any thread, and in a signal handler."""
        self._on_loop(None)

    async def next(self) -> tuple[str, str] | None:
        """The next event, with its inspection's id; None at the end."""
        return await self._events.get()

    def _on_loop(self, event: tuple[str, str] | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._put, event)
        except RuntimeError:  # the loop is closed: nobody is left to listen
            return

    def _put(self, event: tuple[str, str] | None) -> None:
        if self._behind:
            return
        self._behind = self._events.qsize() >= _MAX_PENDING_EVENTS
        self._events.put_nowait(None if self._behind else event)


class InspectionStream:
    """Polls for new inspections while there are subscribers, and sends each the matching ones.

    Their times come from the clocks of all replicas, and a clock may be set back: one that is ahead of this process's
    clock does not keep others from being sent.
    """

    def __init__(self, inspections: Inspections) -> None:
        self._inspections = inspections
        self._subscribers: set[Subscriber] = set()
        self._lock = threading.Lock()
        self._since = datetime.now(UTC)
        self._sent: dict[str, datetime] = {}
        self._begins = True  # nothing is known of what was recorded before
        self._closed = False

    def round(self, _: threading.Event) -> None:
        """See `Task`."""
        with self._lock:
            subscribers = tuple(self._subscribers)
        if not subscribers:
            return
        for inspection in self._fresh():
            event = inspection_event(inspection)
            for subscriber in subscribers:
                if subscriber.filter.matches(inspection):
                    subscriber.send(inspection.id, event)

    def close(self) -> None:
        """End every stream, and those still to come. Safe in a signal handler."""
        self._closed = True
        for subscriber in tuple(self._subscribers):
            subscriber.end()

    @contextmanager
    def subscribe(self, filter: InspectionFilter) -> Iterator[Subscriber]:
        """Hear of what is recorded from now on, and perhaps of what was recorded in the last few seconds."""
        subscriber = Subscriber(filter, asyncio.get_running_loop())
        with self._lock:
            if not self._subscribers:  # nobody has heard of what came since the last one left
                self._since, self._begins = datetime.now(UTC) - MAX_RECORDING_DELAY, True
            self._subscribers.add(subscriber)
        if self._closed:
            subscriber.end()
        try:
            yield subscriber
        finally:
            with self._lock:
                self._subscribers.discard(subscriber)

    def since(self, filter: InspectionFilter, moment: datetime) -> list[Inspection]:
        """What was recorded from a moment on, oldest first: the newest page of it. CatalogueError."""
        since = moment if filter.since is None else max(moment, filter.since)
        return list(self._inspections.page(replace(filter, since=since), None, _PAGE).items)[::-1]

    def _fresh(self) -> list[Inspection]:
        """What was recorded and not sent yet, oldest first."""
        now = datetime.now(UTC)
        if now < self._since:  # the clock was set back
            self._since, self._begins = now - MAX_RECORDING_DELAY, True
        ahead = now + MAX_RECORDING_DELAY
        if self._begins:
            self._sent, self._begins = self._inspections.times(ahead), False
        fresh = self._unsent(InspectionFilter(since=self._since))
        self._sent |= {inspection.id: inspection.at for inspection in fresh}
        if self._sent and max(self._sent.values()) > ahead:  # pages of those may hide what has the right time
            hidden = self._unsent(InspectionFilter(since=self._since, until=ahead))
            self._sent |= {inspection.id: inspection.at for inspection in hidden}
            fresh += hidden
        if self._sent:
            self._since = max(self._since, min(now, max(self._sent.values())) - MAX_RECORDING_DELAY)
            self._sent = {key: at for key, at in self._sent.items() if at >= self._since}
        return sorted(fresh, key=lambda inspection: (inspection.at, inspection.id))

    def _unsent(self, filter: InspectionFilter) -> list[Inspection]:
        """The matching inspections that were not sent, as far as one page after the other has some."""
        fresh: list[Inspection] = []
        cursor: str | None = None
        while True:
            page = self._inspections.page(filter, cursor, _PAGE)
            new = [item for item in page.items if item.id not in self._sent]
            fresh += new
            cursor = page.next_cursor
            if cursor is None or not new:
                return fresh


def inspection_event(inspection: Inspection) -> str:
    """An inspection as a server-sent event."""
    return f"event: inspection\nid: {inspection.id}\ndata: {inspection_view(inspection).model_dump_json()}\n\n"
