"""Prunes the history in the background, with a pause after each step as long as the step took."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator

from indexer.catalogue import CatalogueError, Holding, Retention
from indexer.retention import Pruner, Step
from service.metrics import Metrics

log = logging.getLogger("touchstone")

_DISK_SECONDS = 1.0  # between looks at how much room there is
_ORPHAN_SECONDS = 86_400.0
_LEAST_PAUSE = 0.005


class Pruning:
    """The task, and what it last saw. Several replicas may each have one.

    holdings: what there was when the history was last brought within its limits, at `finished` (Unix time).
    """

    def __init__(self, pruner: Pruner, retention: Retention, metrics: Metrics, seconds: float) -> None:
        self._pruner = pruner
        self._retention = retention
        self._metrics = metrics
        self._seconds = seconds
        self.holdings: tuple[Holding, ...] = ()
        self.finished: float | None = None

    async def run(self) -> None:
        """Prune until cancelled. What fails is tried again."""
        next_look = next_orphans = time.monotonic()
        while True:
            try:
                await self._take(self._pruner.with_room())
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + self._seconds
                    await self._look()
                if time.monotonic() >= next_orphans:
                    next_orphans = time.monotonic() + _ORPHAN_SECONDS
                    await self._take(self._pruner.without_orphans())
            except (CatalogueError, OSError) as error:
                log.error("the history is not pruned; trying again: %s", error)
            await asyncio.sleep(min(_DISK_SECONDS, self._seconds))

    async def _look(self) -> None:
        before = await asyncio.to_thread(self._retention.holdings)
        taken = await self._take(self._pruner.within_bounds(holding.kind for holding in before))
        self.holdings = await asyncio.to_thread(self._retention.holdings) if taken else before
        self.finished = time.time()

    async def _take(self, steps: Iterator[Step]) -> int:
        """Take every step; returns how many there were."""
        taken, room = 0, 0
        while True:
            begun = time.monotonic()
            step = await asyncio.to_thread(next, steps, None)
            if step is None:
                break
            taken += 1
            self._metrics.pruned(step.what, step.why, step.amount.count, step.amount.bytes)
            room += step.amount.count if step.why == "room" else 0
            await asyncio.sleep(max(_LEAST_PAUSE, time.monotonic() - begun))
        if room:
            log.warning("the disk is nearly full: the pictures of the %d oldest good parts were deleted", room)
        return taken
