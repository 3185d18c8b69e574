"""Streams new inspections as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from indexer.domain.errors import CatalogueError
from indexer.domain.inspection import InspectionFilter
from service.background.inspection_stream import MAX_RECORDING_DELAY, InspectionStream, inspection_event

_RECONNECT_MS = 2000
_KEEP_ALIVE_SECONDS = 15.0  # proxies close connections on which nothing is sent


async def server_sent_events(
    stream: InspectionStream, filter: InspectionFilter, missed_since: datetime | None
) -> AsyncIterator[str]:
    """What is recorded from now on, oldest first, until the service stops; a comment after every 15 quiet seconds.

    missed_since: begin with what was recorded from then on, the newest 500 of it.
    """
    with stream.subscribe(filter) as subscriber:
        # Read after subscribing: what is recorded in between is sent as missed, or waits for the subscriber, or both.
        moment = datetime.now(UTC) if missed_since is None else missed_since
        try:
            recorded = await asyncio.to_thread(stream.since, filter, moment - MAX_RECORDING_DELAY)
        except CatalogueError:
            return  # the browser comes back
        yield f"retry: {_RECONNECT_MS}\n\n"
        if missed_since is not None:
            for inspection in recorded:
                yield inspection_event(inspection)
        sent = {inspection.id for inspection in recorded}
        while True:
            try:
                next_event = await asyncio.wait_for(subscriber.next(), _KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield ": quiet\n\n"
                continue
            if next_event is None:
                return
            inspection_id, event = next_event
            if inspection_id not in sent:
                yield event
