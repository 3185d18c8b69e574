"""Follows the history as it grows, whichever process writes it: one task reads it for all who listen."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from indexer.catalogue.inspections import Inspections
from indexer.domain.errors import CatalogueError
from indexer.domain.inspection import Inspection, InspectionFilter
from service.schemas.inspections import inspection_view

_LATEST = timedelta(seconds=5)  # an inspection is recorded no later than this after its time, or it is not told
_PAGE = 500
_MOST_WAITING = 1000  # events that a listener may be behind; then it is cut off, and comes back for what it missed
_QUIET_SECONDS = 15.0
_RECONNECT_MS = 2000


class Listener:
    """One stream's events, as they wait for it. Used on the event loop's thread."""

    def __init__(self, matching: InspectionFilter, loop: asyncio.AbstractEventLoop) -> None:
        self.matching = matching
        self._loop = loop
        self._events: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue()
        self._behind = False

    def tell(self, inspection_id: str, event: str) -> None:
        """Let an event wait for it. Safe on any thread."""
        self._on_loop((inspection_id, event))

    def end(self) -> None:
        """Let the stream end after what waits. Safe on any thread, and in a signal handler."""
        self._on_loop(None)

    async def next(self) -> tuple[str, str] | None:
        """The next event, with its inspection's id; None at the end. TimeoutError when nothing happened for a while."""
        return await asyncio.wait_for(self._events.get(), _QUIET_SECONDS)

    def _on_loop(self, event: tuple[str, str] | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._put, event)
        except RuntimeError:  # the loop is closed: nobody is left to listen
            return

    def _put(self, event: tuple[str, str] | None) -> None:
        if self._behind:
            return
        self._behind = self._events.qsize() >= _MOST_WAITING
        self._events.put_nowait(None if self._behind else event)


class Feed:
    """Reads what was recorded since it last looked, while anybody listens, and tells each what it wants to hear."""

    def __init__(self, inspections: Inspections) -> None:
        self._inspections = inspections
        self._listeners: set[Listener] = set()
        self._lock = threading.Lock()
        self._since = datetime.now(UTC)
        self._told: dict[str, datetime] = {}
        self._closed = False

    def round(self, _: threading.Event) -> None:
        """See `Task`."""
        with self._lock:
            listeners = tuple(self._listeners)
        if not listeners:
            return
        for inspection in self._fresh():
            event = _event(inspection)
            for listener in listeners:
                if listener.matching.matches(inspection):
                    listener.tell(inspection.id, event)

    def close(self) -> None:
        """End every stream, and those still to come. Safe in a signal handler."""
        self._closed = True
        for listener in tuple(self._listeners):
            listener.end()

    @contextmanager
    def listening(self, matching: InspectionFilter) -> Iterator[Listener]:
        """Hear of what is recorded from now on."""
        listener = Listener(matching, asyncio.get_running_loop())
        with self._lock:
            if not self._listeners:  # nobody has heard of what came since the last one left
                self._since, self._told = datetime.now(UTC), {}
            self._listeners.add(listener)
        if self._closed:
            listener.end()
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def since(self, matching: InspectionFilter, moment: datetime) -> list[Inspection]:
        """What was recorded from a moment on, oldest first: the newest page of it. CatalogueError."""
        since = moment if matching.since is None else max(moment, matching.since)
        return list(self._inspections.page(replace(matching, since=since), None, _PAGE).items)[::-1]

    def _fresh(self) -> list[Inspection]:
        """What was recorded and not told yet, oldest first."""
        matching = InspectionFilter(since=self._since)
        fresh: list[Inspection] = []
        cursor: str | None = None
        while True:
            page = self._inspections.page(matching, cursor, _PAGE)
            new = [each for each in page.items if each.id not in self._told]
            fresh += new
            cursor = page.next_cursor
            if cursor is None or not new:
                break
        self._told |= {each.id: each.at for each in fresh}
        if self._told:
            self._since = max(self._since, max(self._told.values()) - _LATEST)
            self._told = {key: at for key, at in self._told.items() if at >= self._since}
        return fresh[::-1]


async def server_sent_events(
    feed: Feed, matching: InspectionFilter, missed_since: datetime | None
) -> AsyncIterator[str]:
    """What is recorded from now on, oldest first, until the service stops; a comment now and then shows life.

    missed_since: begin with what was recorded from then on, the newest 500 of it.
    """
    with feed.listening(matching) as listener:
        yield f"retry: {_RECONNECT_MS}\n\n"
        told: set[str] = set()
        if missed_since is not None:
            try:
                missed = await asyncio.to_thread(feed.since, matching, missed_since)
            except CatalogueError:
                return  # the browser comes back
            told = {each.id for each in missed}
            for each in missed:
                yield _event(each)
        while True:
            try:
                told_next = await listener.next()
            except TimeoutError:
                yield ": quiet\n\n"
                continue
            if told_next is None:
                return
            inspection_id, event = told_next
            if inspection_id not in told:
                yield event


def _event(inspection: Inspection) -> str:
    return f"event: inspection\nid: {inspection.id}\ndata: {inspection_view(inspection).model_dump_json()}\n\n"
