"""Follows the history as it grows, whichever process writes it, and tells it as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

from indexer.catalogue import CatalogueError, Inspection, InspectionFilter
from service import history
from service.runtime import Runtime

_LATEST = 5.0  # seconds: an inspection is recorded no later than this after its time, or it is not told
_MOST = 500  # inspections told at once; more than that is history
_QUIET_SECONDS = 15.0
_RECONNECT_MS = 2000


async def server_sent_events(running: Runtime, wanted: InspectionFilter, since: datetime) -> AsyncIterator[str]:
    """What happens from `since` on, oldest first, until the service stops; a comment now and then shows life."""
    yield f"retry: {_RECONNECT_MS}\n\n"
    told: dict[str, datetime] = {}
    spoke = time.monotonic()
    while not running.stopping:
        for inspection in await _recorded_since(running, wanted, since, told):
            spoke = time.monotonic()
            yield f"event: inspection\nid: {inspection.id}\ndata: {history.view(inspection).model_dump_json()}\n\n"
        if told:
            since = max(since, max(told.values()) - timedelta(seconds=_LATEST))
            told = {key: at for key, at in told.items() if at >= since}
        if time.monotonic() - spoke > _QUIET_SECONDS:
            spoke = time.monotonic()
            yield ": quiet\n\n"
        await asyncio.sleep(running.settings.refresh_ms / 1000)


async def _recorded_since(
    running: Runtime, wanted: InspectionFilter, since: datetime, told: dict[str, datetime]
) -> list[Inspection]:
    """The new ones, oldest first; none while the database is away."""
    matching = replace(wanted, since=max(since, wanted.since) if wanted.since else since)
    try:
        page = await asyncio.to_thread(running.library.catalogue.inspections.page, matching, None, _MOST)
    except CatalogueError:
        return []
    fresh = [inspection for inspection in reversed(page.items) if inspection.id not in told]
    told.update({inspection.id: inspection.at for inspection in fresh})
    return fresh
