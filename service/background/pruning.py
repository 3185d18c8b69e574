"""Prunes the history in the background, pausing after each step for as long as the step took."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

from indexer.catalogue.retention import Retention
from indexer.domain.retention import GroupUsage
from indexer.history.pruner import Pruner, PruneStep
from service.observability.metrics import Metrics

log = logging.getLogger("touchstone")

_DISK_SECONDS = 1.0  # between looks at how much room there is
_ORPHAN_SECONDS = 86_400.0
_MIN_PAUSE = 0.005


class Pruning:
    """The task, and what it last saw. Several replicas may each have one.

    holdings: what there was when the history was last brought within its limits, at `finished` (Unix time).
    """

    def __init__(self, pruner: Pruner, retention: Retention, metrics: Metrics, seconds: float) -> None:
        self._pruner = pruner
        self._retention = retention
        self._metrics = metrics
        self._seconds = seconds
        self._next_look = self._next_orphans = time.monotonic()
        self.holdings: tuple[GroupUsage, ...] = ()
        self.finished: float | None = None

    @property
    def pause(self) -> float:
        """Seconds between rounds."""
        return min(_DISK_SECONDS, self._seconds)

    def round(self, stopping: threading.Event) -> None:
        """See `Task`: free disk space if it is low, and prune the history when due."""
        self._take(self._pruner.free_disk_space(), stopping)
        self._take(self._pruner.delete_abandoned(), stopping)
        if time.monotonic() >= self._next_look:
            self._look(stopping)
            self._next_look = time.monotonic() + self._seconds
        if time.monotonic() >= self._next_orphans:
            self._take(self._pruner.delete_orphans(), stopping)
            self._next_orphans = time.monotonic() + _ORPHAN_SECONDS

    def _look(self, stopping: threading.Event) -> None:
        before = self._retention.usage()
        pruned = self._take(self._pruner.prune_beyond_limits(holding.group for holding in before), stopping)
        self.holdings = self._retention.usage() if pruned else before
        self.finished = time.time()

    def _take(self, steps: Iterator[PruneStep], stopping: threading.Event) -> int:
        """Take every step; returns how many there were."""
        pruned, for_space = 0, 0
        begun = time.monotonic()
        for step in steps:
            pruned += 1
            self._metrics.pruned(step.target, step.reason, step.amount.count, step.amount.bytes)
            for line in step.failed:
                log.error("%s; it is retried every day", line)
            for_space += step.amount.count if step.reason == "disk_space" else 0
            if stopping.wait(max(_MIN_PAUSE, time.monotonic() - begun)):
                break
            begun = time.monotonic()
        if for_space:
            log.warning("the disk is nearly full: the images of the %d oldest good parts were deleted", for_space)
        return pruned
