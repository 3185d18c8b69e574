"""Records inspections after their requests were answered, for clients that do not wait; bounded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from indexer.domain.errors import RequestKeyReused
from service.observability.metrics import Metrics

log = logging.getLogger("touchstone")

MAX_DEFERRED = 64  # inspections: where recording is slower than inspecting, requests wait for it after all


class DeferredRecordings:
    """Counts the inspections that are recorded after their answer. Used by the event loop's thread only."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._deferred = 0

    def defer(self, inspections: int, record: Callable[[], Awaitable[object]], answered: AsyncExitStack) -> bool:
        """Have `record` called when `answered` is closed; False when too many inspections are deferred already.

        inspections: how many it records. One that fails is logged, and its inspections counted as unrecorded.
        """
        if self._deferred + inspections > MAX_DEFERRED:
            return False
        self._deferred += inspections
        answered.push_async_callback(self._record, inspections, record)
        return True

    async def _record(self, inspections: int, record: Callable[[], Awaitable[object]]) -> None:
        try:
            await record()
        except asyncio.CancelledError:
            self._lost(inspections, "the service stopped first")
            raise
        except RequestKeyReused as error:
            self._lost(inspections, str(error))
        except Exception as error:  # the client has its answer: nobody is left to tell
            self._lost(inspections, "unexpected", error)
        finally:
            self._deferred -= inspections

    def _lost(self, inspections: int, reason: str, error: Exception | None = None) -> None:
        log.error("%d inspections were answered and are not recorded: %s", inspections, reason, exc_info=error)
        self._metrics.unrecorded(inspections)
